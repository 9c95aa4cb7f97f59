// Package httpapi turns HTTP requests into commands and queries: it takes menus in, and answers with sessions and rows.
//
// Everything of a request is parsed here, once: a body, an id or a header that is wrong gets a 4xx that names what is
// wrong and is forgotten; what goes further is a valid command. A part that does not answer (the log, Postgres) is a
// 503 with Retry-After, never a 500. Every error is an application/problem+json document (RFC 9457).
//
// Live streams are package sse; the web page is package console.
package httpapi
