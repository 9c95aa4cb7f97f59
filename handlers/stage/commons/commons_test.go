package commons_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/commons"
)

const (
	example    = "Example photos: not this restaurant's dish."
	nothing    = "No picture with a free licence was found."
	wikiAway   = "Wikimedia Commons did not answer; there may be more pictures."
	openAway   = "Openverse did not answer; there may be more pictures."
	wikiCredit = "Pictures: Wikimedia Commons; creator and licence stand with each."
	openCredit = "Pictures: Openverse; creator and licence stand with each."

	upload = "https://upload.wikimedia.org/wikipedia/commons/a/ab/"
)

func TestPicturesOfWikimediaCommons(t *testing.T) {
	t.Parallel()
	p, wiki, open := between(t, answers(t, "wikimedia"), answers(t, "openverse"))
	result, data := ask(t.Context(), t, p, request(karaage))
	if result.Stage != menu.SearchEngine || result.Status != menu.StatusOK || result.Provider != "commons" ||
		result.ProviderVersion != p.Version() || result.Basis != menu.BasisSearch || result.Confidence != 0.6 {
		t.Errorf("result %+v", result)
	}
	if !slices.Equal(result.Warnings, menu.Strings{example}) || !slices.Equal(result.Attribution, menu.Strings{wikiCredit}) {
		t.Errorf("warnings %q, attribution %q", result.Warnings, result.Attribution)
	}
	thumb := "https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/"
	want := []cuisine.Image{
		{
			URL: upload + "Karaage_plate.jpg", ThumbnailURL: new(thumb + "Karaage_plate.jpg/500px-Karaage_plate.jpg"),
			PageURL: "https://commons.wikimedia.org/wiki/File:Karaage_plate.jpg", Title: "Karaage with lemon, lunch at home",
			Creator: new("Mina Example"), License: new("CC BY-SA 4.0"), LicenseURL: new("https://creativecommons.org/licenses/by-sa/4.0/"),
			Attribution: new("“Karaage plate” by Mina Example, CC BY-SA 4.0, via Wikimedia Commons"),
			Width:       new(4000), Height: new(3000), Source: "Wikimedia Commons",
		},
		{
			URL: upload + "Chicken_karaage_2.webp", ThumbnailURL: new(thumb + "Chicken_karaage_2.webp/500px-Chicken_karaage_2.webp"),
			PageURL: "https://commons.wikimedia.org/wiki/File:Chicken_karaage_2.webp", Title: "Chicken karaage 2",
			Creator: new("R. Sample"), License: new("CC BY 3.0 de"), LicenseURL: new("https://creativecommons.org/licenses/by/3.0/de/"),
			Attribution: new("“Chicken karaage 2” by R. Sample, CC BY 3.0 de, via Wikimedia Commons"),
			Width:       new(4000), Height: new(3000), Source: "Wikimedia Commons",
		},
		{
			URL: upload + "Karaage_bowl.png", ThumbnailURL: new(thumb + "Karaage_bowl.png/500px-Karaage_bowl.png"),
			PageURL: "https://commons.wikimedia.org/wiki/File:Karaage_bowl.png", Title: "Karaage bowl",
			Creator: new("Plate Photographer"), License: new("CC0 1.0"), LicenseURL: new("https://creativecommons.org/publicdomain/zero/1.0/"),
			Attribution: new("“Karaage bowl” by Plate Photographer, CC0 1.0, via Wikimedia Commons"),
			Width:       new(4000), Height: new(3000), Source: "Wikimedia Commons",
		},
		{
			URL: upload + "Karaage_market.jpg", ThumbnailURL: new(thumb + "Karaage_market.jpg/500px-Karaage_market.jpg"),
			PageURL: "https://commons.wikimedia.org/wiki/File:Karaage_market.jpg", Title: "Karaage market",
			Creator: new("City & Harbour Archive"), License: new("Public domain"),
			Attribution: new("“Karaage market” by City & Harbour Archive, Public domain, via Wikimedia Commons"),
			Width:       new(4000), Height: new(3000), Source: "Wikimedia Commons",
		},
	}
	if !reflect.DeepEqual(data.Images, want) {
		got, _ := json.MarshalIndent(data.Images, "", " ")
		t.Errorf("images %s", got)
	}
	if n := len(open.asked("q")); n != 0 {
		t.Errorf("Openverse was asked %d times though there were enough pictures", n)
	}
	checkWikimediaRequest(t, wiki, data.Query)
}

// What the local knowledge says of the dish stays: the query, the links and the placeholder.
func TestPicturesAreAddedToTheLocalAnswer(t *testing.T) {
	t.Parallel()
	p, _, _ := between(t, answers(t, "wikimedia"), answers(t, "openverse"))
	result, got := ask(t.Context(), t, p, request(karaage))
	k := knowledge(t)
	known := k.Read(cuisine.Query{Name: karaage, SourceLanguage: "ja", TargetLanguage: "en"}).ImageSearch()
	want, _ := known.Data.(cuisine.SearchData)
	if want.Images = got.Images; len(got.SearchLinks) == 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("data %+v, want %+v", got, want)
	}
	if !strings.Contains(result.ProviderVersion, k.Version()) || result.ProviderVersion == k.Version() {
		t.Errorf("version %q, that of the knowledge is %q", result.ProviderVersion, k.Version())
	}
}

func checkWikimediaRequest(t *testing.T, s *server, query string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) != 1 {
		t.Fatalf("%d requests", len(s.requests))
	}
	r := s.requests[0]
	want := url.Values{
		"action": {"query"}, "format": {"json"}, "formatversion": {"2"}, "maxlag": {"5"}, "generator": {"search"},
		"gsrsearch": {strings.ToLower(query) + " filetype:bitmap"}, "gsrnamespace": {"6"}, "gsrlimit": {"10"},
		"prop": {"imageinfo"}, "iiprop": {"url|size|mime|extmetadata"}, "iiurlwidth": {"500"},
		"iiextmetadatafilter": {"Artist|LicenseShortName|LicenseUrl|Credit|ImageDescription"},
	}
	if r.Method != http.MethodGet || r.URL.Path != "/w/api.php" || !reflect.DeepEqual(r.URL.Query(), want) {
		t.Errorf("%s %s", r.Method, r.URL)
	}
	if agent := r.UserAgent(); !strings.HasPrefix(agent, "Kondate/") || !strings.Contains(agent, contact) {
		t.Errorf("User-Agent %q", agent)
	}
	if r.Header.Get("Cookie") != "" || r.Header.Get("Referer") != "" {
		t.Errorf("header %v", r.Header)
	}
}

func TestOpenverseFillsUp(t *testing.T) {
	t.Parallel()
	p, wiki, open := between(t, answers(t, "wikimedia_none"), answers(t, "openverse"))
	result, data := ask(t.Context(), t, p, request(karaage))
	if result.Status != menu.StatusOK || result.Confidence != 0.6 ||
		!slices.Equal(result.Warnings, menu.Strings{example}) || !slices.Equal(result.Attribution, menu.Strings{openCredit}) {
		t.Errorf("result %+v", result)
	}
	id := func(n int) string {
		return "https://api.openverse.org/v1/images/00000000-0000-4000-8000-00000000000" + strconv.Itoa(n) + "/thumb/"
	}
	want := []cuisine.Image{
		{
			URL: "https://live.staticflickr.com/1/1_b.jpg", ThumbnailURL: new(id(1)), PageURL: "https://www.flickr.com/photos/example/1",
			Title: "karaage", Creator: new("someone"), License: new("CC BY 2.0"), LicenseURL: new("https://creativecommons.org/licenses/by/2.0/"),
			Attribution: new("“karaage” by someone, CC BY 2.0, via Openverse (flickr)"), Width: new(1024), Height: new(768), Source: "Openverse (flickr)",
		},
		{
			URL: upload + "Karaage_plate.jpg", ThumbnailURL: new(id(2)), PageURL: "https://www.flickr.com/photos/example/2",
			Title: "Karaage plate", Creator: new("Mina Example"), License: new("CC BY-SA 4.0"), LicenseURL: new("https://creativecommons.org/licenses/by-sa/4.0/"),
			Attribution: new("“Karaage plate” by Mina Example, CC BY-SA 4.0, via Openverse (wikimedia)"), Width: new(1024), Height: new(768), Source: "Openverse (wikimedia)",
		},
		{
			URL: "https://live.staticflickr.com/1/3_b.jpg", ThumbnailURL: new(id(3)), PageURL: "https://www.flickr.com/photos/example/3",
			Title: "Openverse (rawpixel)", License: new("CC0 1.0"), LicenseURL: new("https://creativecommons.org/publicdomain/zero/1.0/"),
			Attribution: new("Untitled, CC0 1.0, via Openverse (rawpixel)"), Source: "Openverse (rawpixel)",
		},
	}
	if !reflect.DeepEqual(data.Images, want) {
		got, _ := json.MarshalIndent(data.Images, "", " ")
		t.Errorf("images %s", got)
	}
	r := open.requests[0]
	params := url.Values{"q": {"karaage"}, "page_size": {"10"}, "license_type": {"commercial,modification"}, "mature": {"false"}}
	if r.URL.Path != "/v1/images/" || !reflect.DeepEqual(r.URL.Query(), params) || !strings.Contains(r.UserAgent(), contact) {
		t.Errorf("%s, User-Agent %q", r.URL, r.UserAgent())
	}
	// The exact query comes first, then the name alone under which the dish is known.
	if got := wiki.asked("gsrsearch"); !slices.Equal(got, []string{strings.ToLower(data.Query) + " filetype:bitmap", "karaage filetype:bitmap"}) {
		t.Errorf("searched %q", got)
	}
}

// A picture that both hosts have is shown once.
func TestPicturesOfBothHosts(t *testing.T) {
	t.Parallel()
	one := wikimedia(t, func(pages []map[string]any) []map[string]any { return pages[1:2] })
	p, _, _ := between(t, status(http.StatusOK, one, ""), answers(t, "openverse"))
	result, data := ask(t.Context(), t, p, request(karaage))
	want := []string{upload + "Karaage_plate.jpg", "https://live.staticflickr.com/1/1_b.jpg", "https://live.staticflickr.com/1/3_b.jpg"}
	if got := addresses(data); !slices.Equal(got, want) || result.Status != menu.StatusOK {
		t.Errorf("images %q, status %s", got, result.Status)
	}
	if data.Images[0].Source != "Wikimedia Commons" || !slices.Equal(result.Attribution, menu.Strings{wikiCredit, openCredit}) {
		t.Errorf("source %q, attribution %q", data.Images[0].Source, result.Attribution)
	}
}

// wikimedia is the recorded answer with other pages.
func wikimedia(t *testing.T, change func([]map[string]any) []map[string]any) string {
	t.Helper()
	var answer struct {
		Complete bool `json:"batchcomplete"`
		Query    struct {
			Pages []map[string]any `json:"pages"`
		} `json:"query"`
	}
	err := json.Unmarshal([]byte(recorded(t, "wikimedia")), &answer)
	answer.Query.Pages = change(answer.Query.Pages)
	raw, encode := json.Marshal(answer)
	if err != nil || encode != nil {
		t.Fatal(err, encode)
	}
	return string(raw)
}

func TestAtMostTenPictures(t *testing.T) {
	t.Parallel()
	many := wikimedia(t, func(pages []map[string]any) []map[string]any {
		var list []map[string]any
		for i := range 40 {
			raw, _ := json.Marshal(pages[1])
			var page map[string]any
			_ = json.Unmarshal([]byte(strings.ReplaceAll(string(raw), "Karaage_plate", "Plate_"+strconv.Itoa(i))), &page)
			list = append(list, page)
		}
		return list
	})
	p, _, _ := between(t, status(http.StatusOK, many, ""), answers(t, "openverse"))
	_, data := ask(t.Context(), t, p, request(karaage))
	if got := addresses(data); len(got) != 10 || got[9] != upload+"Plate_9.jpg" {
		t.Errorf("%d images: %q", len(got), got)
	}
}

func TestNothingFound(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"wikimedia_none", "wikimedia_unfree"} {
		p, _, open := between(t, answers(t, file), answers(t, "openverse_none"))
		result, data := ask(t.Context(), t, p, request(karaage))
		if result.Status != menu.StatusPartial || result.Basis != menu.BasisSearch || len(data.Images) != 0 || len(data.SearchLinks) != 2 || len(result.Attribution) != 0 {
			t.Errorf("%s: result %+v, data %+v", file, result, data)
		}
		if !slices.Equal(result.Warnings, menu.Strings{nothing}) || len(open.asked("q")) != 1 {
			t.Errorf("%s: warnings %q, Openverse was asked for %q", file, result.Warnings, open.asked("q"))
		}
	}
}

// The label of the pictures is in the reader's language.
func TestLanguageOfTheLabel(t *testing.T) {
	t.Parallel()
	p, _, _ := between(t, answers(t, "wikimedia"), answers(t, "openverse"))
	for target, want := range map[string]string{
		"ja": "写真は一例です。この店の料理ではありません。", "ja-JP": "写真は一例です。この店の料理ではありません。", "en": example, "fr": example, "": example, "!": example,
	} {
		r := request(karaage)
		r.TargetLanguage = target
		if result, _ := ask(t.Context(), t, p, r); !has(result.Warnings, want) {
			t.Errorf("%q: warnings %q", target, result.Warnings)
		}
	}
}

func TestUnknownDishIsNotSearchedFor(t *testing.T) {
	t.Parallel()
	p, wiki, open := between(t, answers(t, "wikimedia"), answers(t, "openverse"))
	for _, name := range []string{"zzqx wvut", "※アレルギーのある方はスタッフまで", "¥1,200", " ", "\xff\xfe", "🍣🍣🍣"} {
		result, data := ask(t.Context(), t, p, request(name))
		if result.Status != menu.StatusUnknown || result.Provider != "commons" || len(data.Images) != 0 || result.Confidence != 0 {
			t.Errorf("%q: %+v", name, result)
		}
	}
	if n := len(wiki.asked("")) + len(open.asked("")); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestOtherStagesAreRefused(t *testing.T) {
	t.Parallel()
	p, _, _ := between(t, answers(t, "wikimedia"), answers(t, "openverse"))
	r := request(karaage)
	r.Stage = menu.Allergen
	_, err := p.Answer(t.Context(), r)
	if e := failure(err); e == nil || !e.Permanent || !strings.Contains(err.Error(), "stages.allergen.provider") {
		t.Errorf("err = %v", err)
	}
}

// Whatever is printed, the words that are sent hold no command of a search engine.
func TestWordsAreNoCommands(t *testing.T) {
	t.Parallel()
	p, wiki, _ := between(t, answers(t, "wikimedia_none"), answers(t, "openverse_none"))
	for _, name := range []string{"Fish & Chips", "Ramen OR -insource:/x.*/", `"Roast Chicken" with Gravy`, "incategory:Curry rice"} {
		r := request(name)
		r.SourceLanguage, r.TargetLanguage = "en", "ja"
		ask(t.Context(), t, p, r)
	}
	asked := wiki.asked("gsrsearch")
	for _, text := range asked {
		words := strings.TrimSuffix(text, " filetype:bitmap")
		if words != strings.ToLower(words) || strings.ContainsAny(words, `":/*|&~()+`) || strings.Contains(words, " -") || strings.HasPrefix(words, "-") {
			t.Errorf("searched for %q", words)
		}
	}
	if !slices.Contains(asked, "fish and chips filetype:bitmap") {
		t.Errorf("searched for %q", asked)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg  commons.Config
		want string // "": valid
	}{
		"Defaults":  {commons.Config{Contact: contact}, ""},
		"Own":       {commons.Config{Contact: "https://example.org/menus", CommonsURL: "https://wiki.example.org/api.php"}, ""},
		"NoContact": {commons.Config{Contact: " "}, "Contact is missing"},
		"Header":    {commons.Config{Contact: "a\r\nX-Evil: 1"}, "Contact must be"},
		"Plain":     {commons.Config{Contact: contact, CommonsURL: "http://commons.wikimedia.org/w/api.php"}, "CommonsURL: \"http://commons.wikimedia.org/w/api.php\" must begin with https"},
		"Scheme":    {commons.Config{Contact: contact, OpenverseURL: "file:///etc/passwd"}, "OpenverseURL"},
		"User":      {commons.Config{Contact: contact, OpenverseURL: "https://a:b@example.org/"}, "without a user"},
		"Query":     {commons.Config{Contact: contact, OpenverseURL: "https://example.org/?a=b"}, "a query"},
		"Negative":  {commons.Config{Contact: contact, Interval: -1}, "may not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := commons.New(test.cfg, knowledge(t))
			if test.want == "" {
				if err != nil || p.Name() != commons.Name || p.Version() == "" {
					t.Errorf("err = %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("err = %v, want %q", err, test.want)
			}
		})
	}
	if _, err := commons.New(commons.Config{Contact: contact}, nil); err == nil {
		t.Error("a provider without knowledge is made")
	}
}

var _ stage.Provider = (*commons.Provider)(nil)
