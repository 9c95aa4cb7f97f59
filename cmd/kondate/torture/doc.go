// Package torture holds the tests that run the whole program as processes and break everything around them. It looks at
// the program from outside only, and what it checks is written anew here: it imports no other package of the module that
// it judges.
package torture
