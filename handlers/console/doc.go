// Package console serves the web page: paste a menu, watch its dishes fill in, open one into a card.
//
// The page is plain HTML, CSS and JavaScript, embedded in the program: no build step, nothing from another host. It
// talks to the same API as every other client. Whatever comes from a menu is shown as text and never parsed as HTML;
// the Content-Security-Policy (with Trusted Types) holds the page's own scripts to that.
package console
