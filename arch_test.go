package kondate_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// module is the path that our own imports begin with.
const module = "kondate"

// layers are the folders for code, highest first. A package may import those of
// any layer below its own.
var layers = []string{"cmd", "handlers", "projections", "eventstore", "streams", "domain"}

// packages are all packages of the module, each with those of its own layer that
// it may import. One whose name ends in "test" is imported by tests only. Which
// package may touch which library is in .golangci.yml, under depguard.
var packages = map[string][]string{
	".": nil, // the map and this test

	"cmd/kondate":         {"cmd/kondate/bench"},
	"cmd/kondate/bench":   nil,
	"cmd/kondate/torture": nil, // a black box: it runs the program, and imports nothing that it judges

	"handlers/access":                nil,
	"handlers/asyncapi":              {"handlers/openapi", "handlers/asyncapi/asyncapitest"}, // what messages are, in words; it sends none
	"handlers/asyncapi/asyncapitest": nil,
	"handlers/console":               {"handlers/openapi"},
	"handlers/httpapi":               {"handlers/openapi", "handlers/openapi/openapitest"},
	"handlers/image":                 nil,
	"handlers/openapi":               nil, // what routes are, in words; it serves none
	"handlers/openapi/openapitest":   {"handlers/openapi"},
	"handlers/sse":                   {"handlers/asyncapi", "handlers/openapi"},
	"handlers/sse/load":              nil, // measures from outside
	"handlers/stage":                 nil,
	"handlers/stage/commons":         {"handlers/stage"},
	"handlers/stage/external":        {"handlers/asyncapi", "handlers/stage"},
	"handlers/stage/local":           {"handlers/stage"},
	"handlers/stage/openai":          {"handlers/stage", "handlers/stage/local"}, // the latter in tests, to compare

	"projections":            {"projections/migrations", "projections/postgres"}, // the latter in tests, to restart it
	"projections/migrations": nil,
	"projections/postgres":   nil,
	"projections/pgtest":     {"projections", "projections/migrations", "projections/postgres"},

	"eventstore":           {"eventstore/trail"},
	"eventstore/trail":     nil, // what a piece of work is about, for spans and log lines
	"eventstore/storetest": {"eventstore"},

	"streams":          nil,
	"streams/natstest": {"streams"},

	"domain/cuisine":       {"domain/menu"},
	"domain/menu":          nil,
	"domain/menu/menutest": {"domain/menu"},
}

// The files are parsed here, not listed by the go command: the test cache sees
// which files a test reads, but not what a command reads for it, and would answer
// "ok (cached)" over a forbidden import.
func TestArchitecture(t *testing.T) {
	t.Parallel()
	broken, err := violations(os.DirFS("."), packages)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range broken {
		t.Error(b)
	}
}

// violations names every import, package and folder in the tree that the table
// does not allow, in the order of the files.
func violations(tree fs.FS, allowed map[string][]string) ([]string, error) {
	var broken []string
	unknown := make(map[string]bool) // packages already reported
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && ignored(name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		from := path.Dir(name)
		if _, ok := allowed[from]; !ok {
			if !unknown[from] {
				broken = append(broken, fmt.Sprintf("package %s is not in the table of arch_test.go", from))
			}
			unknown[from] = true
			return nil
		}
		imports, err := importsOf(tree, name)
		if err != nil {
			return err
		}
		for _, to := range imports {
			if why := forbidden(name, to, allowed); why != "" {
				broken = append(broken, fmt.Sprintf("%s imports %s: %s", name, to, why))
			}
		}
		return nil
	})
	return broken, err
}

// ignored reports whether the go command does not look for packages in a folder.
func ignored(dir string) bool {
	base := path.Base(dir)
	return dir != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_"))
}

// importsOf returns the packages of this module that a file imports, as they are
// called in the table.
func importsOf(tree fs.FS, name string) ([]string, error) {
	source, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, spec := range file.Imports {
		full, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		if full == module {
			out = append(out, ".")
		} else if rest, ok := strings.CutPrefix(full, module+"/"); ok {
			out = append(out, rest)
		}
	}
	return out, nil
}

// forbidden says why a file may not import a package, or nothing.
func forbidden(file, to string, allowed map[string][]string) string {
	from := path.Dir(file)
	if _, ok := allowed[to]; !ok {
		return "it is not in the table of arch_test.go"
	}
	if to == "." {
		return "the root of the module holds no code"
	}
	if from == to {
		return "" // an external test of its own package
	}
	isTest := strings.HasSuffix(file, "_test.go")
	if forTests(to) && !isTest && !forTests(from) {
		return "only tests may import it"
	}
	higher, lower := layer(from), layer(to)
	switch {
	case higher < lower || slices.Contains(allowed[from], to):
		return ""
	case higher > lower:
		return "imports never turn back to a higher layer"
	case isTest && path.Dir(to) == from && forTests(to):
		return "" // the helpers that lie beside what they help to test
	default:
		return "a package of its own layer that the table does not allow it"
	}
}

func forTests(pkg string) bool { return strings.HasSuffix(pkg, "test") }

// layer is the place of a package in layers. The root of the module, and what is
// in no layer, comes below them all and so may import none.
func layer(pkg string) int {
	folder, _, _ := strings.Cut(pkg, "/")
	if i := slices.Index(layers, folder); i >= 0 {
		return i
	}
	return len(layers)
}

// The table itself must not allow what the layers forbid.
func TestArchitectureTable(t *testing.T) {
	t.Parallel()
	for from, siblings := range packages {
		if from != "." && layer(from) == len(layers) {
			t.Errorf("%s is in no layer: there is no further top-level folder for code", from)
		}
		for _, to := range siblings {
			if _, ok := packages[to]; !ok || layer(to) != layer(from) {
				t.Errorf("%s may import %s, which is no package of its layer", from, to)
			}
			if slices.Contains(packages[to], from) {
				t.Errorf("%s and %s may import each other", from, to)
			}
		}
	}
}

func TestArchitectureNamesEveryBrokenRule(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"doc.go":                            "",
		"arch_test.go":                      "os",
		"cmd/kondate/main.go":               "kondate/domain/menu", // skips layers
		"handlers/sse/hub.go":               "kondate/eventstore",
		"handlers/stage/local/local.go":     "kondate/handlers/stage",
		"handlers/stage/stage.go":           "example.com/kondate/handlers/sse", // not ours
		"projections/pgtest/pgtest.go":      "kondate/streams/natstest",
		"streams/streams.go":                "kondate/domain/menu",
		"streams/streams_test.go":           "kondate/streams/natstest",
		"streams/testdata/x/x.go":           "kondate/cmd/kondate", // the go command does not look there
		"streams/natstest/server.go":        "kondate/streams",
		"streams/natstest/server_test.go":   "kondate/streams/natstest",
		"eventstore/jetstream.go":           "kondate/streams",
		"domain/cuisine/cuisine.go":         "kondate/domain/menu",
		"domain/menu/menu.go":               "strings",
		"handlers/httpapi/sessions_test.go": "kondate/projections/pgtest",
	}
	tests := map[string]struct{ file, imports, want string }{
		"unknown package": {
			"handlers/common/common.go", "strings",
			"package handlers/common is not in the table of arch_test.go",
		},
		"new top-level folder": {
			"internal/util/util.go", "strings",
			"package internal/util is not in the table of arch_test.go",
		},
		"import of an unknown package": {
			"cmd/kondate/serve.go", "kondate/utils",
			"cmd/kondate/serve.go imports utils: it is not in the table of arch_test.go",
		},
		"import of the root": {
			"cmd/kondate/serve.go", "kondate",
			"cmd/kondate/serve.go imports .: the root of the module holds no code",
		},
		"code in the root": {
			"kondate.go", "kondate/domain/menu",
			"kondate.go imports domain/menu: imports never turn back to a higher layer",
		},
		"arrow turned back": {
			"streams/topology.go", "kondate/eventstore",
			"streams/topology.go imports eventstore: imports never turn back to a higher layer",
		},
		"arrow turned back in a test": {
			"streams/topology_test.go", "kondate/projections/pgtest",
			"streams/topology_test.go imports projections/pgtest: imports never turn back to a higher layer",
		},
		"handler imports handler": {
			"handlers/httpapi/routes.go", "kondate/handlers/sse",
			"handlers/httpapi/routes.go imports handlers/sse: a package of its own layer that the table does not allow it",
		},
		"parent imports its part": {
			"handlers/stage/registry.go", "kondate/handlers/stage/local",
			"handlers/stage/registry.go imports handlers/stage/local: a package of its own layer that the table does not allow it",
		},
		"test package outside tests": {
			"cmd/kondate/demo.go", "kondate/projections/pgtest",
			"cmd/kondate/demo.go imports projections/pgtest: only tests may import it",
		},
		"test package beside its own": {
			"streams/server.go", "kondate/streams/natstest",
			"streams/server.go imports streams/natstest: only tests may import it",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sources := maps.Clone(good)
			sources[test.file] = test.imports
			broken, err := violations(treeOf(sources), packages)
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{test.want}; !slices.Equal(broken, want) {
				t.Errorf("violations:\n got %q\nwant %q", broken, want)
			}
		})
	}
	t.Run("nothing broken", func(t *testing.T) {
		t.Parallel()
		broken, err := violations(treeOf(good), packages)
		if err != nil || broken != nil {
			t.Errorf("violations = %q, %v; want none", broken, err)
		}
	})
	t.Run("no Go at all", func(t *testing.T) {
		t.Parallel()
		tree := fstest.MapFS{"streams/broken.go": {Data: []byte("not Go")}}
		if broken, err := violations(tree, packages); err == nil {
			t.Errorf("violations = %q, nil; a file that cannot be read proves nothing", broken)
		}
	})
}

// treeOf makes a module of files that each have one import, or none for "".
func treeOf(imports map[string]string) fstest.MapFS {
	tree := make(fstest.MapFS)
	for name, imported := range imports {
		source := "package p\n"
		if imported != "" {
			source += fmt.Sprintf("import _ %q\n", imported)
		}
		tree[name] = &fstest.MapFile{Data: []byte(source)}
	}
	return tree
}
