//! The text of `--help`.

/// What `--help` prints.
pub(crate) const HELP: &str = "\
A load-balancing reverse proxy.

  --config FILE            clusters, routes and, in its section [gateway], the values of flags. A flag
                           overrides its value there. The file is read again when it changes, and on SIGHUP
  --listen ADDR            where to listen, any number of times: an address and a port, unix:/path, or
                           fd:3 for the first socket that systemd passes [default: 127.0.0.1:8080, or
                           every socket that systemd passes]
  --unix-mode MODE         access mode of Unix sockets [default: 0660]
  --tls-listen ADDR        where to listen with TLS, any number of times
  --tls-cert FILE          a certificate with its chain, in PEM, any number of times: clients get the one
                           that has the name they ask for, or the first. Read again when it changes
  --tls-key FILE           its key, in PEM: one for each --tls-cert, in the same order
  --tls-min-version V      1.2 or 1.3 [default: 1.2]
  --tls-client-ca FILE     roots of the certificates that clients must present, in PEM; servers get them
                           as Client-Cert [default: none are asked for]
  --tls-client-optional    clients may do without a certificate
  --redirect-https         sends clients of every --listen that do not speak TLS to the first
                           --tls-listen
  --redirect-port N        sends them to this port, as clients see it
  --proxy-protocol NET     a network whose connections begin with a PROXY header, version 1 or 2, like
                           10.0.0.0/8, any number of times [default: none]
  --admin ADDR             where to serve the status page and /metrics, or off
                           [default: 127.0.0.1:9901]
  --upstream URL           a server to send to, any number of times: http://, https://, h2c:// or
                           unix:/path, with an optional ;weight=N [default: three demo servers]
  --discover KIND:ARG      servers that are found, any number of times: dns:URL for the addresses of the
                           name in a URL, srv:URL for the SRV records of a service, like
                           srv:http://_http._tcp.api.internal, file:PATH for the lines of a file,
                           etcd:URL for the keys of a prefix, kubernetes:NAMESPACE/SERVICE:PORT. The last
                           two need a build with the features etcd and kubernetes
  --dns-server ADDR        a name server to ask instead of the system's, any number of times
  --policy NAME            p2c, p2c-in-flight, round-robin, least-request, random, hash-ip or sticky
                           [default: p2c]
  --workers N              threads that serve [default: one per core]
  --runtime KIND           per-core: each thread has connections of its own, as the kernel deals them out
                           (Linux only); multi-thread: the threads share all connections
                           [default: per-core on Linux]
  --send-proxy-protocol V  begins connections to servers with a PROXY header, v1 or v2, which has the
                           client's address; they speak HTTP/1 [default: none]
  --connect-timeout DUR    longest time to connect, like 1s or 500ms [default: 5s]
  --response-timeout DUR   longest time to a response head [default: 60s]
  --head-timeout DUR       longest time in which a request head must have arrived [default: 30s]
  --idle-timeout DUR       longest time between two requests of a connection [default: 75s; 50s
                           over HTTP/2]
  --write-timeout DUR      longest time in which a client takes nothing of its response [default: 60s]
  --health-path PATH       check each server by a GET of this path, like /healthz: two failures in a
                           row shut it, one success opens it [default: no checks]
  --health-interval DUR    time between two checks of a server [default: 15s]
  --retries N              how often a request is sent again, to another server, if that is safe; 0 turns
                           it off [default: 1]
  --per-try-timeout DUR    longest time of one attempt to its response head [default: none]
  --hedge-after DUR        ask a second server if the first has not answered by then [default: never]
  --max-in-flight N        most requests in flight at each server [default: no limit]
  --queue N                most requests that wait while all servers are full, for 1s each; needs
                           --max-in-flight [default: 0]
  --drain-timeout DUR      longest time for requests in flight and for tunnels after a signal
                           [default: 10s; --grace is the same]
  --max-head SIZE          largest request head, like 64KiB [default: 64KiB]
  --max-fields N           most fields of a request head [default: 256]
  --max-connections N      most connections of clients [default: 3/4 of the files that may be open]
  --max-connections-per-address N
                           most connections of one client address, a /64 network of IPv6, or off
                           [default: half of --max-connections, and off for this machine's own]
  --rate-limit N           most requests per second of one client address, on average; beyond it they
                           get a 429. off: no limit [default: off]
  --rate-burst N           most of them at once, after a pause [default: the same as --rate-limit]
  --cache SIZE             keep responses in this much memory, like 64MiB, and answer from there as RFC 9111
                           allows [default: no cache]
  --access-log FORMAT      json or common: a line on standard output when a request has ended, and all
                           else that is logged on standard error; off: no lines per request
                           [default: a short line at the response head]
  --check                  validate the flags and files, print what the gateway would do, and exit: 0,
                           or 2 if something is wrong
  --help                   this text

RUST_LOG rules the log: RUST_LOG=warn turns off the short line per request.";
