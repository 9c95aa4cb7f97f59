package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

// settings resolves flags that were not given on the command line: from the environment, then from the YAML file.
type settings struct {
	getenv func(string) string
	file   string
	values map[string]any // from the file, by flag name
}

// loadSettings reads the YAML file, if one is named.
func loadSettings(getenv func(string) string, file string) (*settings, error) {
	s := &settings{getenv: getenv, file: file, values: map[string]any{}}
	if file == "" {
		return s, nil
	}
	raw, err := os.ReadFile(file) //nolint:gosec // the caller names the file
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the configuration file %s does not exist", file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration file: %w", err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", file, err)
	}
	flatten("", tree, s.values)
	return s, nil
}

// flatten turns a: {b_c: 1} into a-b-c = 1.
func flatten(prefix string, tree, into map[string]any) {
	for key, value := range tree {
		name := prefix + strings.ReplaceAll(key, "_", "-")
		if sub, ok := value.(map[string]any); ok {
			flatten(name+"-", sub, into)
			continue
		}
		into[name] = value
	}
}

// envName is the variable of a flag.
func envName(flag string) string {
	return "KONDATE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Validate refuses a key of the file that no command knows; kong calls it before it resolves.
func (s *settings) Validate(app *kong.Application) error {
	known := map[string]bool{}
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			known[f.Name] = true
		}
		for _, child := range n.Children {
			walk(child)
		}
	}
	walk(app.Node)
	for name := range s.values {
		if !known[name] {
			return fmt.Errorf("configuration file %s: there is no key that is the flag --%s", s.file, name)
		}
	}
	return nil
}

// Resolve returns a flag's value from the environment or the file, nil if neither has one.
func (s *settings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if value := s.getenv(envName(flag.Name)); value != "" {
		return value, nil
	}
	return s.values[flag.Name], nil
}
