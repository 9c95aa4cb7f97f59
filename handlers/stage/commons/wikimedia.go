package commons

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"kondate/domain/cuisine"
)

const (
	wikimedia = "Wikimedia Commons"

	// thumbWidth, in pixels, is one of the widths that Wikimedia keeps ready.
	thumbWidth = 500
	// maxLag is the delay of the host's databases, in seconds, over which it is left alone.
	maxLag = 5
)

// wikimediaParams asks for the ten best pictures in the namespace of files.
func wikimediaParams(query string) url.Values {
	return url.Values{
		"action": {"query"}, "format": {"json"}, "formatversion": {"2"}, "maxlag": {strconv.Itoa(maxLag)},
		"generator": {"search"}, "gsrsearch": {query + " filetype:bitmap"}, "gsrnamespace": {"6"}, "gsrlimit": {strconv.Itoa(maxImages)},
		"prop": {"imageinfo"}, "iiprop": {"url|size|mime|extmetadata"}, "iiurlwidth": {strconv.Itoa(thumbWidth)},
		"iiextmetadatafilter": {"Artist|LicenseShortName|LicenseUrl|Credit|ImageDescription"},
	}
}

// wikimediaPage is a file's page.
type wikimediaPage struct {
	Index     int    `json:"index"` // its place in the search
	Title     string `json:"title"`
	ImageInfo []struct {
		URL            string `json:"url"`
		ThumbURL       string `json:"thumburl"`
		DescriptionURL string `json:"descriptionurl"`
		Width          int    `json:"width"`
		Height         int    `json:"height"`
		MIME           string `json:"mime"`
		Meta           map[string]struct {
			Value any `json:"value"` // a text, most of the time
		} `json:"extmetadata"`
	} `json:"imageinfo"`
}

// decodeWikimedia reads an answer of the action API. A page that is not as expected is left out.
func decodeWikimedia(body []byte) ([]cuisine.Image, error) {
	var answer struct {
		Error *struct {
			Code string  `json:"code"`
			Info string  `json:"info"`
			Lag  float64 `json:"lag"` // seconds
		} `json:"error"`
		Complete any `json:"batchcomplete"`
		Query    *struct {
			Pages []json.RawMessage `json:"pages"`
		} `json:"query"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the answer is not valid: %w", err)
	}
	if e := answer.Error; e != nil {
		says := fmt.Sprintf("the answer is the error %q (%s)", plain(e.Code, maxName), plain(e.Info, maxName))
		switch e.Code {
		case "maxlag":
			lag := min(max(e.Lag, maxLag), maxPause.Seconds())
			return nil, &busyError{says, time.Duration(lag * float64(time.Second)).Round(time.Second)}
		case "ratelimited":
			return nil, &busyError{says, defaultPause}
		}
		return nil, errors.New(says)
	}
	if answer.Query == nil {
		if answer.Complete == nil {
			return nil, errors.New("the answer is not one of the action API")
		}
		return nil, nil // nothing was found
	}
	var pages []wikimediaPage
	for _, raw := range answer.Query.Pages {
		var page wikimediaPage
		if json.Unmarshal(raw, &page) == nil {
			pages = append(pages, page)
		}
	}
	slices.SortStableFunc(pages, func(a, b wikimediaPage) int { return cmp.Compare(a.Index, b.Index) })
	var images []cuisine.Image
	for _, page := range pages {
		if image, ok := page.image(); ok && len(images) < maxImages {
			images = append(images, image)
		}
	}
	return images, nil
}

// image is the page's picture; false if it cannot be shown or may not be.
func (p wikimediaPage) image() (cuisine.Image, bool) {
	if len(p.ImageInfo) == 0 {
		return cuisine.Image{}, false
	}
	info := p.ImageInfo[0]
	meta := func(key string) string {
		text, _ := info.Meta[key].Value.(string)
		return text
	}
	licence, free := licenceOfName(plainHTML(meta("LicenseShortName"), maxName), meta("LicenseUrl"))
	if !free || !slices.Contains([]string{"image/jpeg", "image/png", "image/webp"}, info.MIME) {
		return cuisine.Image{}, false
	}
	creator := plainHTML(meta("Artist"), maxName)
	if credit := plainHTML(meta("Credit"), maxName); creator == "" && !strings.EqualFold(credit, "own work") {
		creator = credit
	}
	file := fileName(p.Title)
	title := plainHTML(meta("ImageDescription"), maxTitle)
	if title == "" {
		title = file
	}
	return picture(found{
		url: info.URL, thumb: info.ThumbURL, page: info.DescriptionURL,
		title: title, work: file, creator: creator, licence: licence,
		width: info.Width, height: info.Height, source: wikimedia,
	})
}

// fileName is a file's title without its namespace and type.
func fileName(title string) string {
	title = plain(title, maxTitle)
	if namespace, name, ok := strings.Cut(title, ":"); ok && namespace == "File" {
		title = name
	}
	return strings.TrimSuffix(title, path.Ext(title))
}
