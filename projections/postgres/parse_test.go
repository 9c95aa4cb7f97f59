package postgres_test

import (
	"testing"

	"kondate/projections/postgres"
)

func TestParseMajor(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": "15",
		"postgres (PostgreSQL) 13.23\n":                          "13",
		"postgres (PostgreSQL) 18beta1\n":                        "18",
		"postgres (PostgreSQL) 9":                                "9",
		"postgres (PostgreSQL) devel":                            "",
		"15.18":                                                  "",
		"":                                                       "",
	} {
		got, ok := postgres.ParseMajor(line)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", line, got, ok)
		}
	}
}

// A number that is signalled must be one process: never 0 or 1, never a group.
func FuzzParsePID(f *testing.F) {
	for _, seed := range []string{"4711\n/data\n", "-4711\n", "0\n", "1\n", "", "\n", "99999999999\n", " 12 \n", "-2147483648"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if pid, ok := postgres.ParsePID(text); ok && (pid <= 1 || pid > 1<<31) {
			t.Errorf("%q names process %d", text, pid)
		}
	})
}
