package cuisine

import (
	"strconv"
	"strings"
	"unicode"
)

// matchCount reads a number with its counter: 5個, 三種, 200g, 6 pcs. The reading is empty where a count has none.
func (k *Knowledge) matchCount(key []rune, i int) (length int, text, read string) {
	j := i
	for j < len(key) && (unicode.IsDigit(key[j]) || key[j] == ',') {
		j++
	}
	var num string
	if j > i {
		num = string(key[i:j])
	} else {
		for j < len(key) && j-i < 3 && strings.ContainsRune("一二三四五六七八九十半", key[j]) {
			j++
		}
		if j == i {
			return 0, "", ""
		}
		if num = strconv.Itoa(kanjiValue(string(key[i:j]))); key[i] == '半' {
			num = "half"
		}
	}
	start := j
	if start < len(key) && key[start] == ' ' {
		start++
	}
	for end := min(len(key), start+8); end > start; end-- {
		if !endsWord(key, end) {
			continue
		}
		unit := string(key[start:end])
		if scriptOf(key[start]) == scriptLatin {
			unit = "en:" + unit
		}
		for _, t := range k.terms[unit] {
			if t.kind == kindModifier && t.Role == roleUnit {
				return end - i, strings.TrimSpace(num + " " + t.English), countKana(num, t.read)
			}
		}
	}
	return 0, "", ""
}

// countKana reads a count: 三種 さんしゅ, 一本 いっぽん, 二切れ ふたきれ. It knows the numbers of a menu, 1 to 99.
func countKana(num, unit string) string {
	if num == "half" && unit != "" {
		return "はん" + unit
	}
	n, err := strconv.Atoi(num)
	if err != nil || n < 1 || n > 99 || unit == "" {
		return ""
	}
	switch unit {
	case "きれ", "さら", "くち", "くし", "たま", "つぶ":
		if native := []string{"", "ひと", "ふた", "み"}; n < len(native) {
			return native[n] + unit
		}
	}
	if unit == "にんまえ" && n%10 == 4 {
		return tens(n) + "よ" + unit
	}
	ones := [...]string{"じゅう", "いち", "に", "さん", "よん", "ご", "ろく", "なな", "はち", "きゅう"}
	digit := ones[n%10]
	first := []rune(unit)[0]
	k, s, t, h := strings.ContainsRune("かきくけこ", first), strings.ContainsRune("さしすせそ", first),
		strings.ContainsRune("たちつてと", first), strings.ContainsRune("はひふへほ", first)
	if h {
		switch n % 10 {
		case 0, 1, 6, 8:
			unit = string(first+2) + string([]rune(unit)[1:]) // は ば ぱ stand in this order
		case 3:
			voice := rune(1)
			if unit == "ひん" || unit == "はく" {
				voice = 2
			}
			unit = string(first+voice) + string([]rune(unit)[1:])
		}
	}
	switch {
	case n%10 == 0 && (k || s || t || h):
		digit = "じゅっ"
	case n%10 == 1 && (k || s || t || h):
		digit = "いっ"
	case n%10 == 8 && (k || s || t || h):
		digit = "はっ"
	case n%10 == 6 && (k || h):
		digit = "ろっ"
	}
	if n%10 == 0 {
		return tens(n)[:len(tens(n))-len("じゅう")] + digit + unit
	}
	return tens(n) + digit + unit
}

// tens reads the tens of a number below 100.
func tens(n int) string {
	names := [...]string{"", "じゅう", "にじゅう", "さんじゅう", "よんじゅう", "ごじゅう", "ろくじゅう", "ななじゅう", "はちじゅう", "きゅうじゅう"}
	return names[n/10]
}
