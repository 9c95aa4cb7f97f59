package cuisine

import (
	"regexp"
	"strconv"
	"strings"
)

// Price is a printed price as far as it can be read. Amount is in the
// currency's main unit; nil fields were not printed or not understood.
type Price struct {
	Printed     *string  `json:"printed"`
	Amount      *float64 `json:"amount"`
	Currency    *string  `json:"currency"`
	TaxIncluded *bool    `json:"tax_included"`
	MarketPrice bool     `json:"market_price"`
}

var (
	kanjiNumber = regexp.MustCompile(`[〇零一二三四五六七八九十百千万]+(?:[、,][〇零一二三四五六七八九]{3})*`)
	taxedNumber = regexp.MustCompile(`税込み?[^\d]{0,3}(\d[\d,]*)`)
	number      = regexp.MustCompile(`\d[\d.,]*`)
)

// ParsePrice reads a printed price; lang decides what a bare number means
// ("ja": yen). Text that is no price yields only Printed.
func ParsePrice(printed, lang string) Price {
	var p Price
	text := clean(printed)
	if text == "" {
		return p
	}
	p.Printed = new(strings.ToValidUTF8(printed, "\uFFFD"))
	low := strings.ToLower(text)
	if strings.Contains(low, "時価") || low == "mp" || low == "m.p." || strings.Contains(low, "market price") || strings.Contains(low, "prezzo di mercato") || strings.Contains(low, "selon arrivage") {
		p.MarketPrice = true
		return p
	}
	low = kanjiNumber.ReplaceAllStringFunc(low, func(s string) string { return strconv.Itoa(kanjiValue(s)) })
	p.Currency = currencyOf(low, lang)
	switch {
	case strings.Contains(low, "税込"):
		p.TaxIncluded = new(true)
	case strings.Contains(low, "税抜"), strings.Contains(low, "税別"):
		p.TaxIncluded = new(false)
	}
	if strings.Contains(low, "無料") || low == "free" {
		p.Amount = new(0.0)
		return p
	}
	if i := number.FindStringIndex(low); i != nil && strings.ContainsAny(low[:i[0]], "-−") {
		return p
	}
	if strings.Contains(low, "代") { // "the drink's price + 100 yen" is no price
		return p
	}
	digits := number.FindString(low)
	if m := taxedNumber.FindStringSubmatch(low); m != nil {
		digits = m[1]
	}
	if v, ok := amount(digits); ok {
		p.Amount = &v
	}
	return p
}

func currencyOf(low, lang string) *string {
	for _, c := range [...]struct{ sign, code string }{
		{"¥", "JPY"}, {"円", "JPY"}, {"yen", "JPY"}, {"€", "EUR"}, {"eur", "EUR"}, {"£", "GBP"}, {"$", "USD"},
	} {
		if strings.Contains(low, c.sign) {
			return &c.code
		}
	}
	if lang == "ja" && number.MatchString(low) {
		return new("JPY")
	}
	return nil
}

// amount reads 1,280 as a thousand and 6,50 as six and a half.
func amount(s string) (float64, bool) {
	s = strings.TrimRight(s, ".,")
	if i := strings.LastIndexAny(s, ".,"); i >= 0 {
		if head := strings.NewReplacer(",", "", ".", "").Replace(s[:i]); len(s)-i-1 == 3 {
			s = head + s[i+1:]
		} else {
			s = head + "." + s[i+1:]
		}
	}
	if len(s) == 0 || len(s) > 12 {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil
}

// kanjiValue reads 千二百五十 and the positional 一、八〇〇 alike.
func kanjiValue(s string) int {
	digit := map[rune]int{'〇': 0, '零': 0, '一': 1, '二': 2, '三': 3, '四': 4, '五': 5, '六': 6, '七': 7, '八': 8, '九': 9}
	unit := map[rune]int{'十': 10, '百': 100, '千': 1000}
	total, section, cur := 0, 0, 0
	for _, r := range s {
		if d, ok := digit[r]; ok {
			cur = min(cur*10+d, 1e9)
		} else if u, ok := unit[r]; ok {
			section = min(section+max(cur, 1)*u, 1e9)
			cur = 0
		} else if r == '万' {
			total = min(total+max(section+cur, 1)*10000, 1e12)
			section, cur = 0, 0
		}
	}
	return total + section + cur
}
