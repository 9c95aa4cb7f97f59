// Package cuisine knows dishes: their names, recipes, allergens, readings and
// prices, offline and without doubt about what it does not know.
//
// [Load] reads the embedded tables once. [Knowledge.Read] resolves one printed
// menu item to a [Reading]: an exact dish of the tables, else a composition of
// known parts ("grilled" + "chicken" + "basil sauce"), else only what the
// menu's category tells, else unknown. The eight answers of a Reading derive
// from that one resolution, so they never contradict each other.
//
// Unknown is never safe: no answer claims that a dish is free of anything. A
// claim printed by the restaurant is passed on as the restaurant's own words.
//
// Growing the knowledge means adding lines to data/*.jsonl (see data/README.md).
package cuisine
