package main

// stagesCommand groups what is done to the stages.
type stagesCommand struct {
	Conform conformCommand `cmd:"" help:"Try out another team's worker: does it keep the contract of docs/workers.md? Exit 1 if not."`
}
