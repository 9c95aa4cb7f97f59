// Package image makes the pictures of dishes that somebody asks for.
//
// The picture is a [Card]: a dish in two languages on one sheet of a quarter A4, black on white, to print and put on the
// table. SVG and PNG come from one drawing. A [Maker] reads the requests from the log, draws the card from what the eight
// stages have answered so far, keeps both forms in the picture store and records image.completed. With a [Painter] the
// card has a painted picture too, which is labelled as such wherever it is shown.
//
// A card never says what it does not know: allergens that nobody named are "not known", and no mark says "free of".
package image
