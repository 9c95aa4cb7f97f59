// Package kondate is the root of the module; it holds the map and the import rules, no code.
package kondate
