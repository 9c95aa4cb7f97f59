package commons

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"kondate/domain/cuisine"
)

const openverse = "Openverse"

// openverseParams asks for ten pictures that may be used and changed by anybody, and suit everybody.
func openverseParams(query string) url.Values {
	return url.Values{
		"q": {query}, "page_size": {strconv.Itoa(maxImages)}, "license_type": {"commercial,modification"}, "mature": {"false"},
	}
}

// openverseImage is one of the answer's results.
type openverseImage struct {
	Title      string `json:"title"`
	URL        string `json:"url"`
	Thumbnail  string `json:"thumbnail"`
	LandingURL string `json:"foreign_landing_url"`
	Creator    string `json:"creator"`
	Licence    string `json:"license"` // a code such as by-sa
	Version    string `json:"license_version"`
	LicenceURL string `json:"license_url"`
	Source     string `json:"source"`
	FileType   string `json:"filetype"`
	Mature     bool   `json:"mature"`
	Width      int    `json:"width"`
	Height     int    `json:"height"`
}

// decodeOpenverse reads an answer of the image search. A picture that is not as expected is left out.
func decodeOpenverse(body []byte) ([]cuisine.Image, error) {
	var answer struct {
		Results *[]json.RawMessage `json:"results"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the answer is not valid: %w", err)
	}
	if answer.Results == nil {
		return nil, errors.New("the answer is not one of the image search")
	}
	var images []cuisine.Image
	for _, raw := range *answer.Results {
		var one openverseImage
		if json.Unmarshal(raw, &one) != nil {
			continue
		}
		if image, ok := one.image(); ok && len(images) < maxImages {
			images = append(images, image)
		}
	}
	return images, nil
}

// image is the result's picture; false if it cannot be shown or may not be.
func (o openverseImage) image() (cuisine.Image, bool) {
	licence, free := licenceOfCode(o.Licence, o.Version, o.LicenceURL)
	if !free || o.Mature || !o.isPhoto() {
		return cuisine.Image{}, false
	}
	title := plain(o.Title, maxTitle)
	source := openverse
	if from := plain(o.Source, maxName); from != "" {
		source += " (" + from + ")"
	}
	return picture(found{
		url: o.URL, thumb: o.Thumbnail, page: o.LandingURL,
		title: title, work: title, creator: plain(o.Creator, maxName), licence: licence,
		width: o.Width, height: o.Height, source: source,
	})
}

// isPhoto goes by the type, and by the address of a picture whose type Openverse does not know.
func (o openverseImage) isPhoto() bool {
	kind := o.FileType
	if kind == "" {
		if u, err := url.Parse(o.URL); err == nil {
			kind = strings.TrimPrefix(path.Ext(u.Path), ".")
		}
	}
	return slices.Contains([]string{"jpg", "jpeg", "png", "webp"}, strings.ToLower(kind))
}
