// Package openapi writes the OpenAPI 3.1 description of an HTTP API out of the API's own code: every route is described
// beside its registration, and JSON Schemas come from the Go types that are encoded and decoded there.
//
// It knows no route and no type by itself. Packages that serve routes say what these are, as [Operation] values, and
// whoever wires them makes one document of all.
package openapi
