package commons

import (
	"regexp"
	"strings"
)

// licence is one that lets anybody use, change and sell the picture.
type licence struct {
	name string
	url  string // of its deed; empty: the public domain has none
}

// creativeCommons is the name of an attribution licence, with the country it was written for.
var creativeCommons = regexp.MustCompile(`^cc[ -]by([ -]sa)?[ -](1\.0|2\.0|2\.1|2\.5|3\.0|4\.0)(?:[ -]([a-z]{2}|igo|scotland))?$`)

// licenceOfName reads a licence as Wikimedia Commons names it, such as "CC BY-SA 3.0 de". The address of the deed is
// made from the name; what comes with the picture only has to agree with it. False: it is not known to be free.
func licenceOfName(name, given string) (licence, bool) {
	name = strings.ToLower(name)
	switch name {
	case "cc0", "cc0 1.0":
		return publicDomainTool("CC0 1.0", "zero", given)
	case "cc pdm 1.0", "pdm", "pdm 1.0":
		return publicDomainTool("Public domain mark 1.0", "mark", given)
	case "public domain":
		return licence{name: "Public domain"}, agrees(given, "/publicdomain/")
	}
	parts := creativeCommons.FindStringSubmatch(name)
	if parts == nil {
		return licence{}, false
	}
	code := "by"
	if parts[1] != "" {
		code = "by-sa"
	}
	return attribution(code, parts[2], parts[3], given)
}

// licenceOfCode reads a licence as Openverse has it, such as "by-sa" and "2.0".
func licenceOfCode(code, version, given string) (licence, bool) {
	switch code {
	case "cc0":
		return publicDomainTool("CC0 1.0", "zero", given)
	case "pdm":
		return publicDomainTool("Public domain mark 1.0", "mark", given)
	case "by", "by-sa":
		if creativeCommons.MatchString("cc " + code + " " + version) {
			return attribution(code, version, "", given)
		}
	}
	return licence{}, false
}

func publicDomainTool(name, tool, given string) (licence, bool) {
	path := "/publicdomain/" + tool + "/1.0"
	return licence{name, "https://creativecommons.org" + path + "/"}, agrees(given, path)
}

func attribution(code, version, country, given string) (licence, bool) {
	path := "/licenses/" + code + "/" + version
	l := licence{"CC " + strings.ToUpper(code) + " " + version, "https://creativecommons.org" + path + "/"}
	if country != "" {
		l.name += " " + country
		l.url += country + "/"
	}
	return l, agrees(given, path)
}

// agrees says whether the deed that comes with a picture is not another one of Creative Commons.
func agrees(given, path string) bool {
	given = strings.ToLower(given)
	return !strings.Contains(given, "creativecommons.org") || strings.Contains(given, "creativecommons.org"+path)
}
