package openai

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// What people avoid, as alternatives of an expression, in the languages that menus are translated into most.
const (
	avoidedEN = `allerg\w*|gluten|dairy|lactose|milk|butter|cream|cheese|eggs?|wheat|flour|soy|soya|soybeans?|nuts?|tree nuts?|peanuts?|walnuts?|almonds?|` +
		`cashews?|sesame|fish|seafood|shellfish|crustaceans?|shrimps?|prawns?|crabs?|squid|buckwheat|soba|meat|pork|beef|chicken|lard|gelatine?|alcohol|mustard|celery|lupin|sulphites?|sulfites?|animal\w*|honey|msg|additives?`
	avoidedRomance = `gluten|glutine|allerg\w*|alergen\w*|alérgen\w*|lactose|lattosio|lactosa|lait|latte|leche|œufs?|oeufs?|uova|uovo|huevos?|blé|grano|trigo|soja|soia|noix|noci|nueces|` +
		`arachides?|arachidi|cacahuetes?|poisson|pesce|pescado|crustacés|crostacei|mariscos|viande|carne|porc|maiale|cerdo|alcool|alcol|alcohol|sésame|sesamo|sésamo`
	avoidedJA = `アレルギー|アレルゲン|グルテン|小麦|乳|乳製品|牛乳|ミルク|ラクトース|乳糖|卵|玉子|たまご|そば|蕎麦|落花生|ピーナッツ|ナッツ|くるみ|大豆|えび|海老|かに|蟹|甲殻類|魚|魚介|肉|豚|豚肉|牛肉|鶏肉|アルコール|ごま|動物性`
)

// absence finds a text that says something is not in a dish, or that a dish is safe. It errs on the strict side: a model
// that is stopped for nothing is asked again, a guest who trusts such a text may be hurt.
var absence = []*regexp.Regexp{ //nolint:gochecknoglobals // never changes
	regexp.MustCompile(`\bsafe(?:ly|ty|r|st)?\b|\bharmless\b|\brisk[- ]?free\b|\bhypoallergenic\b|\bnothing to worry\b`),
	regexp.MustCompile(`\bno (?:\w+ )?(?:risk|danger|concern)s?\b|\bwithout (?:worry|risk|concern)\b|\bdo(?: not|n'?t) worry\b|\b(?:` + avoidedEN + `) ?(?:[:=] ?(?:none|nil|no|zero|0)\b|(?:is|are|was|were|has been|have been) (?:not|removed|omitted|left out|absent)\b)`),
	regexp.MustCompile(`[\pL\d]-free\b|\b(?:` + avoidedEN + `) free\b|\bfree (?:of|from)\b|\b(?:non|zero)[- ]?(?:` + avoidedEN + `)\b|\b(?:egg|dairy|meat|gluten|milk|nut|alcohol)less\b`),
	regexp.MustCompile(`\b(?:contains?|containing|includes?|including|has|have|having|with|uses?|using) (?:absolutely )?(?:no|none|zero|neither|not any)\b`),
	regexp.MustCompile(`\b(?:does|do|did|is|are|will|would|should|can|could|was|were)(?: ?not|n'?t) (?:\w+ )?(?:contain|include|have|use|made|prepared|cooked|added)\w*\b|\bcannot (?:contain|include|have)\b|\bnever (?:contains?|includes?|uses?|has)\b`),
	regexp.MustCompile(`\b(?:no|without|zero|lacks?|lacking|omits?|excludes?|excluding|minus|sans) (?:any |added |known |common |major |traces? of |\w+ )?(?:` + avoidedEN + `)\b`),
	regexp.MustCompile(`\b(?:suitable|ok|okay|fine|good|appropriate|alright|ideal|perfect) for (?:\w+ ){0,3}(?:allerg\w*|coeliacs?|celiacs?|vegans?|vegetarians?|muslims?|jews|intoleran\w*|everyone|anyone|all)\b`),
	regexp.MustCompile(`\b(?:allerg\w*|coeliac|celiac|gluten|vegan|vegetarian|halal|kosher)[- ](?:friendly|safe|certified|approved)\b`),
	regexp.MustCompile(`\b(?:sans|senza|sin|libre de|exempt de|privo di|priva di) (?:\w+ ){0,2}(?:` + avoidedRomance + `)(?:$|[^\pL])|\bne contien\w* (?:pas|ni|aucun\w*)|\bnon contien\w*|\bno contien\w*|\bsans (?:danger|risque)\b|\bsicur[oaie]\b|\bsegur[oa]s?\b`),
	regexp.MustCompile(`\b\pL+frei(?:e[rnsm]?)?\b|\bfrei von\b|\bohne (?:\pL+ )?(?:gluten|laktose|milch|ei|eier|nüsse|weizen|soja|fisch|fleisch|alkohol|allergene)\b|\benthält (?:kein|nicht)|\bunbedenklich\b`),
	regexp.MustCompile(`不使用|未使用|不含|無添加|安全|安心|入っていません|入っていない|入っておりません|入れていません|入れておらず|入っておらず|入りません|含まない|含みません|含まず|含まれません|含まれない|含まれていません|含まれておりません|含んでいません|含んでいない|含有しない|使っていません|使っていない|使わず|使わない|使いません|使用していません|使用していない|使用しておりません|使用せず|使用しない`),
	regexp.MustCompile(`(?:` + avoidedJA + `)[:・ ]?(?:フリー|ゼロ|なし|無し|ナシ|抜き|ぬき|レス|対応|除去|不要|はありません|はない|の心配)|ノン(?:グルテン|アレルゲン|エッグ|デイリー|ミート)|アレルギー(?:の方|をお持ちの方)(?:でも|も|にも)`),
	regexp.MustCompile(`(?:无|無|零|没有|沒有|不加)(?:麸质|麩質|过敏|過敏|乳糖|乳|奶|蛋|小麦|小麥|坚果|堅果|花生|大豆|肉|酒精)|글루텐 ?프리|프리 ?글루텐|무글루텐|안전|들어 ?있지 ?않|들어가지 ?않|함유하지 ?않|포함하지 ?않|사용하지 ?않`),
}

// link finds an address: a menu is no reason to send a guest somewhere.
var link = regexp.MustCompile(`://|\bwww\.`)

// claims names the texts in a model's data that say what no model can know.
func claims(at string, v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		text := plain(v)
		for _, expression := range absence {
			if found := expression.FindString(text); found != "" {
				out = append(out, fmt.Sprintf("%s: %q claims that something is absent or safe: say only what is in the dish", at, cut(found, 60)))
				break
			}
		}
		if link.MatchString(text) {
			out = append(out, at+": the text holds a link")
		}
	case []any:
		for i, one := range v {
			out = append(out, claims(at+"["+strconv.Itoa(i)+"]", one)...)
		}
	case map[string]any:
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			out = append(out, claims(at+"."+key, v[key])...)
		}
	}
	return out[:min(len(out), maxFaults)]
}

// plain removes what could hide a word from the expressions: case, width, invisible signs, other dashes and quotes.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Mn, r) && r >= 0xfe00:
			return -1
		case unicode.Is(unicode.Pd, r) || r == '\u2212':
			return '-'
		case r == '’' || r == '‘' || r == 'ʼ' || r == '`':
			return '\''
		}
		return r
	}, norm.NFKC.String(text))
	return strings.Join(strings.Fields(strings.ToLower(text)), " ")
}

// tidy makes single lines of all texts in a value, in place, and removes what rules a terminal or the direction of writing.
func tidy(v any) {
	switch v := v.(type) {
	case []any:
		for i := range v {
			if text, is := v[i].(string); is {
				v[i] = oneLine(text)
				continue
			}
			tidy(v[i])
		}
	case map[string]any:
		for key := range v {
			if text, is := v[key].(string); is {
				v[key] = oneLine(text)
				continue
			}
			tidy(v[key])
		}
	}
}

func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200b, r == 0x2060, r == 0xfeff, r == 0xfffd:
			return -1
		}
		return r
	}, text)), " ")
}
