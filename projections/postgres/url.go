package postgres

import (
	"net/url"
	"os/exec"
	"strings"
	"unicode"
)

const (
	superuser = "kondate" // owns the cluster; connections are trusted to be it
	database  = "kondate" // the one database of the cluster
	port      = "5432"    // only a part of the socket's name
)

// URL returns the connection string of the database "kondate", for pgx and for
// everything on libpq.
func (s *Server) URL() string { return s.url(database) }

func (s *Server) url(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(superuser), Path: "/" + database,
		// Said in full, so that no PG… variable of the environment has a say.
		RawQuery: url.Values{"host": {s.socket}, "port": {port}, "sslmode": {"disable"}}.Encode(),
	}
	return u.String()
}

// PsqlCommand returns a line to paste into a shell, that opens psql on the
// database. It works for the user who started the server and for root.
func (s *Server) PsqlCommand() string {
	psql := "psql"
	if _, err := exec.LookPath(psql); err != nil && executable(s.bin.path(psql)) && plain(s.bin.folder) {
		psql = s.bin.path(psql)
	}
	return psql + ` "host=` + s.socket + " port=" + port + " dbname=" + database + " user=" + superuser + `"`
}

// plain tells whether a path means itself to a shell, to libpq, which takes a
// comma for the start of another host, and in a list of PostgreSQL's.
func plain(path string) bool {
	return !strings.ContainsFunc(path, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+@", r)
	})
}
