// Package access decides who may ask what of the HTTP server: API keys with a role and a tenant, and tokens that open
// one session's stream for a while. It also finds the address of a client behind proxies.
//
// [Guard.Check] is the middleware. It knows for every route what it takes ([Need]); a route that it does not know is
// for administrators only, so that a forgotten one is closed and not open. Handlers ask [Tenant] and [OnlySession] whom
// they answer.
package access
