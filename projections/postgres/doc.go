// Package postgres runs a private PostgreSQL from the binaries installed on
// the machine, for whoever has no server of their own: one cluster in one
// folder, reached over a unix socket and by nobody else.
//
// The folder given as [Config.Dir] holds
//
//	cluster/      the cluster (PGDATA); a link when it had to live elsewhere, see below
//	socket/       the unix socket, mode 0700: who may enter it is who may connect
//	postgres.log  what the server wrote, of this start and the last
//	lock          held by the process that uses the folder
//
// # Whose processes they are
//
// PostgreSQL refuses to run as root. For a root caller it runs as the account
// postgres, else nobody; everybody else runs it as themselves. Cluster and
// socket folder belong to that account. The caller, that account and root can
// connect, without a password: the mode of the socket folder is the guard.
//
// A cluster keeps the account that made it: started by root it runs as its
// owner, started by anybody else but the owner it is refused.
//
// # When the account cannot enter the folder
//
// Below root's home, say, the unprivileged account cannot reach Dir. The
// cluster then lives in a folder of its own under /var/lib/kondate, and
// Dir/cluster is a link to it. Only where that cannot be made either does it
// live under the system's temporary folder: it survives every crash there, but
// not what empties that folder (often a reboot), and the next start begins with
// an empty cluster. Both are logged. Deleting Dir leaves the other folder behind.
//
// # What a crash leaves
//
// The server outlives neither its caller nor a kill -9 of it: on Linux the
// kernel tells it that its parent died, elsewhere the next Start ends it. An
// unfinished initdb is never taken for a cluster, and the next Start recovers
// whatever a crash left.
package postgres
