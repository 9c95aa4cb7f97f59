package postgres

var (
	ParsePID   = parsePID
	ParseMajor = parseMajor
)
