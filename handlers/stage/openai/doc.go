// Package openai asks a model at an OpenAI-compatible endpoint (OpenAI, Ollama, vLLM) and unites its answer with that of
// the embedded knowledge of domain/cuisine.
//
// A model is a guest here, and so is the menu that it reads:
//   - Dishes of one session that are asked for at about the same time share a request; dishes of others never do, so a
//     hostile name can spoil only its own menu.
//   - An answer counts only if it fits the schema and claims no absence and no safety. One that does not goes back once.
//   - A model adds findings and makes verdicts more careful. What the knowledge base found stays, whatever the model says.
//   - The engine repeats, waits and counts; here every failure only gets the kind that tells the engine what to do.
package openai
