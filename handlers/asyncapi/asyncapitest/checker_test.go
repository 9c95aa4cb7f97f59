package asyncapitest_test

import (
	"strings"
	"testing"

	"kondate/handlers/asyncapi/asyncapitest"
)

const small = `{"asyncapi":"3.0.0","info":{"title":"t","version":"1"},
"channels":{"c":{"address":"a.{p}","parameters":{"p":{"$ref":"#/components/parameters/p"}},"messages":{"m":{"$ref":"#/components/messages/m"}}},
"d":{"address":"b","messages":{"m":{"$ref":"#/components/messages/m"}}}},
"operations":{"o":{"action":"send","channel":{"$ref":"#/channels/c"},"messages":[{"$ref":"#/channels/c/messages/m"}]}},
"components":{"parameters":{"p":{}},"schemas":{"s":{"type":"object","required":["x"]}},
"messages":{"m":{"headers":{"type":"object","required":["h"]},"payload":{"$ref":"#/components/schemas/s"},"examples":[{"headers":{"h":"1"},"payload":{"x":1}}]}}}}`

// A checker that cannot fail proves nothing.
func TestCheckerFindsEveryFault(t *testing.T) {
	t.Parallel()
	if _, err := asyncapitest.NewChecker([]byte(small)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ old, new, says string }{
		"NotJSON":           {`{"asyncapi"`, `"asyncapi"`, "no JSON"},
		"OtherVersion":      {"3.0.0", "2.6.0", "no valid AsyncAPI"},
		"UnknownMember":     {`"address":"b"`, `"place":"b"`, "no valid AsyncAPI"},
		"WrongAction":       {`"send"`, `"publish"`, "no valid AsyncAPI"},
		"NoSchema":          {`"required":["x"]`, `"required":"x"`, "no valid AsyncAPI"},
		"DanglingReference": {"#/components/schemas/s", "#/components/schemas/t", "which is not there"},
		"OtherDocument":     {"#/components/schemas/s", "other.json", "which is not there"},
		"UnsaidParameter":   {"a.{p}", "a.{q}", "does not describe {q}"},
		"SpareParameter":    {"a.{p}", "a.b", "1 parameters, its address 0"},
		"ForeignMessage":    {"#/channels/c/messages/m", "#/channels/d/messages/m", "none of its channel"},
		"ExampleHeader":     {`"h":"1"`, `"i":"1"`, "example of m"},
		"ExamplePayload":    {`"payload":{"x":1}`, `"payload":{"y":1}`, "example of m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken := strings.Replace(small, test.old, test.new, 1)
			if _, err := asyncapitest.NewChecker([]byte(broken)); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want an error with %q: %v", test.says, err)
			}
		})
	}
}
