"""How each peer is told what to do: texts of configuration, and words on a command line."""

from dataclasses import dataclass
from pathlib import Path

NGINX = """
daemon off; {user} pid {folder}/pid; error_log {folder}/error.log crit;
worker_processes {workers}; worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
    access_log off; keepalive_requests 1000000000; tcp_nopush on; sendfile on;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {http}
}}
"""

NGINX_ORIGIN = """
    open_file_cache max=10; open_file_cache_valid 1h;
    server {{
        {listen} root {folder};
        location = /100 {{ return 200 "{hundred}"; }}
        location = /post {{ return 200 "ok\\n"; }}
        location = /seen {{ return 200 "$server_port $http_x_forwarded_for"; }}
    }}
"""

# {how} is proxy, or grpc: its only module that speaks HTTP/2 to endpoints.
NGINX_PROXY = """
    upstream origin {{ {servers} keepalive {idle}; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} reuseport {listen};
        location / {{
            {how}_pass {to}://origin;
            {more}
            {how}_set_header X-Forwarded-For $remote_addr;
            {how}_set_header X-Forwarded-Host $http_host;
            {how}_set_header X-Forwarded-Proto $scheme;
        }}
    }}
"""
NGINX_HTTP1 = 'proxy_http_version 1.1; proxy_set_header Connection "";'
NGINX_WEBSOCKET = "proxy_http_version 1.1; proxy_set_header Connection upgrade; proxy_set_header Upgrade websocket;"

HAPROXY = """
global
    nbthread {workers}
    maxconn {files}
    no strict-limits
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 60s
    option forwardfor
    http-reuse always
frontend clients
    bind 127.0.0.1:{port} {listen}
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-request set-header X-Forwarded-Proto {scheme}
    default_backend origin
backend origin
    balance roundrobin
    {servers}
"""

# Where the types of its configuration are from.
ENVOY_API = "type.googleapis.com/envoy.extensions"
ENVOY = """
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {api}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          use_remote_address: true
          upgrade_configs: [{{ upgrade_type: websocket }}]
          route_config:
            request_headers_to_add: [{{ header: {{ key: x-forwarded-host, value: "%REQ(:AUTHORITY)%" }} }}]
            virtual_hosts:
            - {{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: origin }} }}] }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": {api}.filters.http.router.v3.Router }}
      {tls}
  clusters:
  - name: origin
    connect_timeout: 5s
    {http2}
    load_assignment: {{ cluster_name: origin, endpoints: [{{ lb_endpoints: [{servers}] }}] }}
"""
ENVOY_SERVER = "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }}"
ENVOY_TLS = """transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": {api}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: {{ filename: {folder}/cert.pem }}
              private_key: {{ filename: {folder}/key.pem }}"""
ENVOY_HTTP2 = """typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": {api}.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}"""

TRAEFIK = """
http:
  routers:
    all: {{ rule: "PathPrefix(`/`)", service: origin }}
  services:
    origin: {{ loadBalancer: {{ servers: [{servers}] }} }}
{tls}
"""
TRAEFIK_TLS = "tls: {{ certificates: [{{ certFile: {folder}/cert.pem, keyFile: {folder}/key.pem }}] }}"

CADDY = """
{{
    admin off
    auto_https off
    persist_config off
    log {{
        level ERROR
    }}
    servers {{
        protocols h1 h2 h2c
    }}
}}
{scheme}://:{port} {{
    bind 127.0.0.1
    {tls}
    reverse_proxy {servers} {{
        lb_policy round_robin
        transport http {{
            keepalive_idle_conns_per_host {idle}
            {http2}
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Told:
    """What a configuration depends on."""

    program: Path
    port: int
    scene: "peers.Scene"
    addresses: list
    folder: Path
    files: int
    idle: int

    @property
    def tls(self):
        return self.scene.clients == "https"

    @property
    def h2c(self):
        """Towards endpoints."""
        return self.scene.endpoints == "h2c"

    def write(self, name, text):
        (self.folder / name).write_text(text)
        return self.folder / name


def nginx_proxy(told):
    """Only its `http` block: the rest is as its origin's."""
    tls = f"ssl; ssl_certificate {told.folder}/cert.pem; ssl_certificate_key {told.folder}/key.pem"
    clients = {"http": "", "https": tls, "h2c": "http2"}
    how, to, more = "proxy", "http", NGINX_WEBSOCKET if told.scene.name == "ws" else NGINX_HTTP1
    if told.h2c:
        how, to, more = "grpc", "grpc", ""
    servers = " ".join(f"server {address};" for address in told.addresses)
    return NGINX_PROXY.format(port=told.port, listen=clients[told.scene.clients], servers=servers,
                              idle=told.idle * len(told.addresses), how=how, to=to, more=more)


def haproxy(told):
    clients = {"http": "", "https": f"ssl crt {told.folder}/both.pem alpn http/1.1", "h2c": "proto h2"}
    proto = " proto h2" if told.h2c else ""
    conf = told.write("haproxy.cfg", HAPROXY.format(
        workers=told.scene.workers, files=told.files, port=told.port, listen=clients[told.scene.clients],
        scheme="https" if told.tls else "http",
        servers="\n    ".join(f"server s{n} {address}{proto}" for n, address in enumerate(told.addresses)),
    ))
    return [told.program, "-db", "-f", conf], {}


def envoy(told):
    conf = told.write("envoy.yaml", ENVOY.format(
        api=ENVOY_API, port=told.port,
        servers=", ".join(ENVOY_SERVER.format(address.split(":")[1]) for address in told.addresses),
        tls=ENVOY_TLS.format(api=ENVOY_API, folder=told.folder) if told.tls else "",
        http2=ENVOY_HTTP2.format(api=ENVOY_API) if told.h2c else "",
    ))
    workers = told.scene.workers
    return [told.program, "-c", conf, "--concurrency", workers, "--disable-hot-restart", "--log-level", "error"], {}


def traefik(told):
    servers = ", ".join(f'{{ url: "{told.scene.endpoints}://{address}" }}' for address in told.addresses)
    tls = TRAEFIK_TLS.format(folder=told.folder) if told.tls else ""
    conf = told.write("traefik.yaml", TRAEFIK.format(servers=servers, tls=tls))
    words = [told.program, f"--entrypoints.web.address=127.0.0.1:{told.port}", f"--providers.file.filename={conf}",
             f"--entrypoints.web.http.tls={str(told.tls).lower()}", "--log.level=ERROR",
             f"--serverstransport.maxidleconnsperhost={told.idle}",
             "--global.checknewversion=false", "--global.sendanonymoususage=false"]
    return words, {"GOMAXPROCS": str(told.scene.workers)}


def caddy(told):
    conf = told.write("Caddyfile", CADDY.format(
        scheme="https" if told.tls else "http", port=told.port, servers=" ".join(told.addresses), idle=told.idle,
        tls=f"tls {told.folder}/cert.pem {told.folder}/key.pem" if told.tls else "",
        http2="versions h2c" if told.h2c else "",
    ))
    home = {"HOME": str(told.folder), "XDG_DATA_HOME": str(told.folder), "XDG_CONFIG_HOME": str(told.folder)}
    words = [told.program, "run", "--config", conf, "--adapter", "caddyfile"]
    return words, home | {"GOMAXPROCS": str(told.scene.workers)}


def gateway(told):
    upstreams = [word for address in told.addresses for word in ("--upstream", f"{told.scene.endpoints}://{address}")]
    listen = ["--listen", f"127.0.0.1:{told.port}"]
    if told.tls:
        files = ["--tls-cert", told.folder / "cert.pem", "--tls-key", told.folder / "key.pem"]
        listen = ["--tls-listen", f"127.0.0.1:{told.port}", *files]
    return [told.program, *listen, "--workers", told.scene.workers, *upstreams], {"RUST_LOG": "warn"}


def go(told):
    tls = ["--tls", told.folder] if told.tls else []
    return [told.program, *tls, f"127.0.0.1:{told.port}", *told.addresses], {"GOMAXPROCS": str(told.scene.workers)}


def of_rust(told):
    """Those in rust/ have the same arguments."""
    flags = (["--tls", told.folder] if told.tls else []) + (["--h2c"] if told.h2c else [])
    return [told.program, *flags, f"127.0.0.1:{told.port}", told.scene.workers, *told.addresses], {}


# The others are of_rust.
BY_PEER = {"haproxy": haproxy, "envoy": envoy, "traefik": traefik, "caddy": caddy, "gateway": gateway,
           "gateway-pgo": gateway, "go": go}
