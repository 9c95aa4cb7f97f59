// Package torture runs a whole fleet of the program as processes, breaks it in every way it can, and then holds what was
// promised against what is there. It is tests only, and a black box: it builds the program, starts it beside three NATS
// servers and a Postgres, and knows it by its HTTP, its log and its tables; nothing of it is imported.
// docs/torture.md tells what it does and how to run it.
package torture
