
/*
 * Copyright (C) ngx-mesh authors
 */

/*
 * curl's multi interface by sockets: curl says which sockets and until when,
 * libevent waits, nothing polls.  curl must not be called from its own
 * callbacks, so ended calls are told after it has returned, and a call that
 * is started there begins with the loop's next turn.
 */

#include <sys/queue.h>

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <mesh_kube_client.h>
#include <mesh_log.h>
#include <mesh_mem.h>


#define MESH_KUBE_KEEPIDLE_S   10          /* a dead peer is one after 20 s */
#define MESH_KUBE_KEEPINTVL_S  5
#define MESH_KUBE_KEEPCNT      2


LIST_HEAD(mesh_kube_calls_s, mesh_kube_call_s);


struct mesh_kube_client_s {
    struct event_base          *base;
    struct event               *timer;     /* curl's */
    CURLM                      *multi;
    mesh_kube_conf_t            conf;
    char                       *agent;
    struct mesh_kube_calls_s    calls;
    unsigned                    ncalls;
    mesh_kube_client_counts_t   counts;
};


struct mesh_kube_call_s {
    mesh_kube_client_t         *client;
    const mesh_kube_call_handler_t  *handler;
    void                       *data;
    CURL                       *easy;
    struct curl_slist          *headers;
    struct curl_slist          *connect_to;
    struct event               *head_timer;
    char                       *body;
    char                       *token;     /* that it was sent with */
    int                         added;     /* to multi */
    int                         told;      /* a byte of the answer came */
    int                         refused;   /* by the handler */
    int                         late;
    char                        why[CURL_ERROR_SIZE];
    LIST_ENTRY(mesh_kube_call_s)  in_client;
};


static int mesh_kube_refresh(mesh_kube_client_t *client);
static int mesh_kube_call_set(mesh_kube_call_t *call,
    const mesh_kube_call_conf_t *conf);
static char *mesh_kube_call_url(mesh_kube_call_t *call, const char *path);
static int mesh_kube_call_set_tls(mesh_kube_call_t *call);
static CURLcode mesh_kube_blob(CURL *easy, CURLoption option, char *text);
static int mesh_kube_call_set_headers(mesh_kube_call_t *call,
    const mesh_kube_call_conf_t *conf);
static int mesh_kube_header(mesh_kube_call_t *call, const char *name,
    const char *value);
static void mesh_kube_call_free(mesh_kube_call_t *call);

static int mesh_kube_on_socket(CURL *easy, curl_socket_t fd, int what,
    void *data, void *socket_data);
static int mesh_kube_on_curl_timer(CURLM *multi, long ms, void *data);
static void mesh_kube_on_event(evutil_socket_t fd, short what, void *data);
static void mesh_kube_on_timeout(evutil_socket_t fd, short what, void *data);
static void mesh_kube_on_head_timeout(evutil_socket_t fd, short what,
    void *data);
static int mesh_kube_on_sockopt(void *data, curl_socket_t fd,
    curlsocktype purpose);
static size_t mesh_kube_on_body(char *text, size_t size, size_t n,
    void *data);
static size_t mesh_kube_on_head(char *text, size_t size, size_t n,
    void *data);
static void mesh_kube_collect(mesh_kube_client_t *client);
static void mesh_kube_call_end(mesh_kube_call_t *call, CURLcode code);


mesh_kube_client_t *
mesh_kube_client_new(struct event_base *base, mesh_kube_conf_t *conf,
    const char *agent, mesh_err_t *err)
{
    static int  initialized;

    mesh_kube_client_t  *client;

    client = mesh_mem_new(sizeof(mesh_kube_client_t));

    client->base = base;
    client->conf = *conf;
    client->agent = mesh_mem_str(agent);
    LIST_INIT(&client->calls);

    memset(conf, 0, sizeof(mesh_kube_conf_t));

    if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        mesh_err(err, "curl_global_init() failed");
        goto failed;
    }

    initialized = 1;

    client->multi = curl_multi_init();
    client->timer = event_new(base, -1, 0, mesh_kube_on_timeout, client);

    if (client->multi == NULL || client->timer == NULL) {
        mesh_err(err, "cannot make a client of the API server");
        goto failed;
    }

    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION,
                      mesh_kube_on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION,
                      mesh_kube_on_curl_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING,
                      (long) CURLPIPE_MULTIPLEX);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, 8L);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_CONCURRENT_STREAMS,
                      (long) MESH_KUBE_CALLS_MAX);

    return client;

failed:

    mesh_kube_client_free(client);

    return NULL;
}


void
mesh_kube_client_free(mesh_kube_client_t *client)
{
    if (client == NULL) {
        return;
    }

    while (!LIST_EMPTY(&client->calls)) {
        mesh_kube_call_free(LIST_FIRST(&client->calls));
    }

    if (client->multi) {
        curl_multi_cleanup(client->multi);
    }

    if (client->timer) {
        event_free(client->timer);
    }

    mesh_kube_conf_done(&client->conf);
    free(client->agent);
    free(client);
}


const mesh_kube_conf_t *
mesh_kube_client_conf(const mesh_kube_client_t *client)
{
    return &client->conf;
}


const mesh_kube_client_counts_t *
mesh_kube_client_counts(const mesh_kube_client_t *client)
{
    return &client->counts;
}


/* what changed counts for calls from now on; the one place that tells it */

static int
mesh_kube_refresh(mesh_kube_client_t *client)
{
    int         rc;
    mesh_err_t  err;

    rc = mesh_kube_conf_refresh(&client->conf, &err);

    if (rc == MESH_OK) {
        client->counts.refreshed++;
        mesh_log(MESH_LOG_INFO, 0, "read the credentials for \"%s\" again",
                 client->conf.server);

    } else if (rc == MESH_ERROR) {
        mesh_log(MESH_LOG_ERROR, 0, "%s, the credentials before stay",
                 err.text);
    }

    return rc;
}


mesh_kube_call_t *
mesh_kube_call_start(mesh_kube_client_t *client,
    const mesh_kube_call_conf_t *conf,
    const mesh_kube_call_handler_t *handler, void *data, mesh_err_t *err)
{
    struct timeval     tv;
    mesh_kube_call_t  *call;

    if (client->ncalls == MESH_KUBE_CALLS_MAX) {
        mesh_err(err, "more than %d calls of the API server at a time",
                 MESH_KUBE_CALLS_MAX);
        return NULL;
    }

    (void) mesh_kube_refresh(client);

    call = mesh_mem_new(sizeof(mesh_kube_call_t));

    call->client = client;
    call->handler = handler;
    call->data = data;
    call->body = mesh_mem_str(conf->body);
    call->token = mesh_mem_str(client->conf.token.text);

    LIST_INSERT_HEAD(&client->calls, call, in_client);
    client->ncalls++;

    call->easy = curl_easy_init();
    call->head_timer = event_new(client->base, -1, 0,
                                 mesh_kube_on_head_timeout, call);

    if (call->easy == NULL || call->head_timer == NULL
        || mesh_kube_call_set(call, conf) != MESH_OK
        || mesh_kube_call_set_tls(call) != MESH_OK
        || mesh_kube_call_set_headers(call, conf) != MESH_OK
        || curl_multi_add_handle(client->multi, call->easy) != CURLM_OK)
    {
        mesh_err(err, "cannot make a call of the API server");
        mesh_kube_call_free(call);
        return NULL;
    }

    call->added = 1;
    client->counts.calls++;

    tv.tv_sec = (MESH_KUBE_CONNECT_MS + MESH_KUBE_HEAD_MS) / 1000;
    tv.tv_usec = 0;
    event_add(call->head_timer, &tv);

    return call;
}


void
mesh_kube_call_cancel(mesh_kube_call_t *call)
{
    mesh_kube_call_free(call);
}


static int
mesh_kube_call_set(mesh_kube_call_t *call, const mesh_kube_call_conf_t *conf)
{
    int                  rc;
    CURL                *easy;
    char                *url;
    mesh_kube_client_t  *client;

    easy = call->easy;
    client = call->client;

    url = mesh_kube_call_url(call, conf->path);

    if (url == NULL) {
        return MESH_ERROR;
    }

    rc = curl_easy_setopt(easy, CURLOPT_URL, url)
         || curl_easy_setopt(easy, CURLOPT_PRIVATE, call)
         || curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->why)
         || curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L)
         || curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https,http")
         || curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L)
         || curl_easy_setopt(easy, CURLOPT_PROXY,
                             client->conf.proxy ? client->conf.proxy : "")
         || curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                             (long) CURL_HTTP_VERSION_2TLS)
         || curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L)
         || curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip")
         || curl_easy_setopt(easy, CURLOPT_USERAGENT, client->agent)
         || curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                             (long) MESH_KUBE_CONNECT_MS)
         || curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) conf->total_ms)
         || curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION,
                             mesh_kube_on_sockopt)
         || curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, mesh_kube_on_body)
         || curl_easy_setopt(easy, CURLOPT_WRITEDATA, call)
         || curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, mesh_kube_on_head)
         || curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);

    free(url);

    if (strcmp(conf->method, "GET") != 0) {
        rc = rc || curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST,
                                    conf->method);
    }

    if (call->body) {
        rc = rc
             || curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                                 (curl_off_t) strlen(call->body))
             || curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
    }

    return rc ? MESH_ERROR : MESH_OK;
}


static int
mesh_kube_call_set_tls(mesh_kube_call_t *call)
{
    int                rc;
    long               verify;
    CURL              *easy;
    mesh_kube_conf_t  *conf;

    easy = call->easy;
    conf = &call->client->conf;
    verify = !conf->insecure;

    rc = curl_easy_setopt(easy, CURLOPT_SSLVERSION,
                          (long) CURL_SSLVERSION_TLSv1_2)
         || curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, verify)
         || curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, verify ? 2L : 0L);

    if (conf->ca.text) {
        rc = rc || mesh_kube_blob(easy, CURLOPT_CAINFO_BLOB, conf->ca.text);
    }

    if (conf->cert.text) {
        rc = rc
             || mesh_kube_blob(easy, CURLOPT_SSLCERT_BLOB, conf->cert.text)
             || mesh_kube_blob(easy, CURLOPT_SSLKEY_BLOB, conf->key.text)
             || curl_easy_setopt(easy, CURLOPT_SSLCERTTYPE, "PEM");
    }

    return rc ? MESH_ERROR : MESH_OK;
}


/*
 * With a name for the certificate that is not the server's, curl is told to
 * go to that name, and that it is to be found where the server is.
 */

static char *
mesh_kube_call_url(mesh_kube_call_t *call, const char *path)
{
    char                    *host, *port, *prefix, *text, *url;
    CURLU                   *u;
    const mesh_kube_conf_t  *conf;

    conf = &call->client->conf;

    if (conf->server_name == NULL) {
        return mesh_mem_printf("%s%s", conf->server, path);
    }

    url = NULL;
    host = NULL;
    port = NULL;
    prefix = NULL;

    u = curl_url();

    if (u && curl_url_set(u, CURLUPART_URL, conf->server, 0) == CURLUE_OK
        && curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK
        && curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT)
           == CURLUE_OK
        && curl_url_get(u, CURLUPART_PATH, &prefix, 0) == CURLUE_OK)
    {
        url = mesh_mem_printf("https://%s:%s%s%s", conf->server_name, port,
                              strcmp(prefix, "/") == 0 ? "" : prefix, path);
        text = mesh_mem_printf("%s:%s:%s:%s", conf->server_name, port, host,
                               port);

        call->connect_to = curl_slist_append(NULL, text);
        free(text);

        if (call->connect_to == NULL
            || curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO,
                                call->connect_to) != CURLE_OK)
        {
            free(url);
            url = NULL;
        }
    }

    curl_free(host);
    curl_free(port);
    curl_free(prefix);
    curl_url_cleanup(u);

    return url;
}


static CURLcode
mesh_kube_blob(CURL *easy, CURLoption option, char *text)
{
    struct curl_blob  blob;

    blob.data = text;
    blob.len = strlen(text);
    blob.flags = CURL_BLOB_COPY;

    return curl_easy_setopt(easy, option, &blob);
}


static int
mesh_kube_call_set_headers(mesh_kube_call_t *call,
    const mesh_kube_call_conf_t *conf)
{
    int   rc;
    char *bearer;

    rc = mesh_kube_header(call, "Accept", "application/json");

    if (rc == MESH_OK && call->body) {
        rc = mesh_kube_header(call, "Content-Type",
                              conf->type ? conf->type : "application/json");
    }

    if (rc == MESH_OK && call->token) {
        bearer = mesh_mem_printf("Bearer %s", call->token);
        rc = mesh_kube_header(call, "Authorization", bearer);

        explicit_bzero(bearer, strlen(bearer));
        free(bearer);
    }

    if (rc == MESH_OK
        && curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers)
           != CURLE_OK)
    {
        rc = MESH_ERROR;
    }

    return rc;
}


static int
mesh_kube_header(mesh_kube_call_t *call, const char *name, const char *value)
{
    char               *line;
    struct curl_slist  *list;

    line = mesh_mem_printf("%s: %s", name, value);
    list = curl_slist_append(call->headers, line);

    explicit_bzero(line, strlen(line));
    free(line);

    if (list == NULL) {
        return MESH_ERROR;
    }

    call->headers = list;

    return MESH_OK;
}


static void
mesh_kube_call_free(mesh_kube_call_t *call)
{
    struct curl_slist  *header;

    if (call->added) {
        curl_multi_remove_handle(call->client->multi, call->easy);
    }

    if (call->easy) {
        curl_easy_cleanup(call->easy);
    }

    if (call->head_timer) {
        event_free(call->head_timer);
    }

    for (header = call->headers; header; header = header->next) {
        explicit_bzero(header->data, strlen(header->data));
    }

    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);

    if (call->token) {
        explicit_bzero(call->token, strlen(call->token));
    }

    LIST_REMOVE(call, in_client);
    call->client->ncalls--;

    free(call->token);
    free(call->body);
    free(call);
}


/* curl wants to know when a socket is ready */

static int
mesh_kube_on_socket(CURL *easy, curl_socket_t fd, int what, void *data,
    void *socket_data)
{
    mesh_kube_client_t  *client = data;

    short          events;
    struct event  *event = socket_data;

    (void) easy;

    if (event) {
        event_free(event);
    }

    if (what == CURL_POLL_REMOVE) {
        curl_multi_assign(client->multi, fd, NULL);
        return 0;
    }

    events = EV_PERSIST;
    events |= (what & CURL_POLL_IN) ? EV_READ : 0;
    events |= (what & CURL_POLL_OUT) ? EV_WRITE : 0;

    event = mesh_mem_must(event_new(client->base, fd, events,
                                    mesh_kube_on_event, client));
    event_add(event, NULL);

    curl_multi_assign(client->multi, fd, event);

    return 0;
}


/* curl wants to be called in so many ms, -1: not at all */

static int
mesh_kube_on_curl_timer(CURLM *multi, long ms, void *data)
{
    mesh_kube_client_t  *client = data;

    struct timeval  tv;

    (void) multi;

    if (ms < 0) {
        event_del(client->timer);
        return 0;
    }

    tv.tv_sec = ms / 1000;
    tv.tv_usec = ms % 1000 * 1000;

    event_add(client->timer, &tv);

    return 0;
}


static void
mesh_kube_on_event(evutil_socket_t fd, short what, void *data)
{
    mesh_kube_client_t  *client = data;

    int  running, mask;

    mask = ((what & EV_READ) ? CURL_CSELECT_IN : 0)
           | ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0);

    curl_multi_socket_action(client->multi, fd, mask, &running);

    mesh_kube_collect(client);
}


static void
mesh_kube_on_timeout(evutil_socket_t fd, short what, void *data)
{
    mesh_kube_client_t  *client = data;

    int  running;

    (void) fd;
    (void) what;

    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);

    mesh_kube_collect(client);
}


/* a server that takes the request and says nothing; a watch has no time-out
   of its own that would end this soon */

static void
mesh_kube_on_head_timeout(evutil_socket_t fd, short what, void *data)
{
    mesh_kube_call_t  *call = data;

    (void) fd;
    (void) what;

    call->late = 1;

    mesh_kube_call_end(call, CURLE_OPERATION_TIMEDOUT);
}


/* a peer whose machine or network is gone, without a byte to say so */

static int
mesh_kube_on_sockopt(void *data, curl_socket_t fd, curlsocktype purpose)
{
    int       on, idle, interval, count;
    unsigned  unacked_ms;

    (void) data;
    (void) purpose;

    on = 1;
    idle = MESH_KUBE_KEEPIDLE_S;
    interval = MESH_KUBE_KEEPINTVL_S;
    count = MESH_KUBE_KEEPCNT;
    unacked_ms = 1000 * (MESH_KUBE_KEEPIDLE_S
                         + MESH_KUBE_KEEPCNT * MESH_KUBE_KEEPINTVL_S);

    /* where one is refused, the others still help */

    (void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval,
                      sizeof(interval));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms,
                      sizeof(unacked_ms));

    return CURL_SOCKOPT_OK;
}


static size_t
mesh_kube_on_head(char *text, size_t size, size_t n, void *data)
{
    mesh_kube_call_t  *call = data;

    (void) text;

    if (!call->told) {
        call->told = 1;
        event_del(call->head_timer);
    }

    return size * n;
}


static size_t
mesh_kube_on_body(char *text, size_t size, size_t n, void *data)
{
    mesh_kube_call_t  *call = data;

    long  status;

    status = 0;
    (void) curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);

    call->client->counts.bytes += size * n;

    if (call->handler->body(call->data, (int) status, text, size * n)
        == MESH_ERROR)
    {
        call->refused = 1;
        return 0;
    }

    return size * n;
}


/* a handler may start and cancel calls: what has ended is asked each time */

static void
mesh_kube_collect(mesh_kube_client_t *client)
{
    int                left;
    char              *call;
    CURLMsg           *message;

    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {

        if (message->msg == CURLMSG_DONE
            && curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE,
                                 &call) == CURLE_OK)
        {
            mesh_kube_call_end((mesh_kube_call_t *) call,
                               message->data.result);
        }
    }
}


static void
mesh_kube_call_end(mesh_kube_call_t *call, CURLcode code)
{
    int                              rc;
    long                             status;
    char                             why[CURL_ERROR_SIZE + 64];
    void                            *data;
    curl_off_t                       seconds;
    const char                      *token;
    mesh_kube_ended_t                ended;
    mesh_kube_client_t              *client;
    const mesh_kube_call_handler_t  *handler;

    client = call->client;
    handler = call->handler;
    data = call->data;

    memset(&ended, 0, sizeof(ended));

    status = 0;
    seconds = 0;

    (void) curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    (void) curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &seconds);

    ended.status = (int) status;
    ended.whole = (code == CURLE_OK);
    ended.retry_after_ms = (unsigned) mesh_min(seconds * 1000,
                               (curl_off_t) MESH_KUBE_RETRY_AFTER_MAX_MS);

    snprintf(why, sizeof(why), "%s",
             call->late ? "the answer does not begin"
             : call->refused ? "the answer is not wanted any more"
             : call->why[0] ? call->why : curl_easy_strerror(code));

    ended.why = why;

    if (code != CURLE_OK && !call->refused) {
        client->counts.failed++;
    }

    if (status == 401) {
        rc = mesh_kube_refresh(client);
        token = client->conf.token.text ? client->conf.token.text : "";

        ended.fresh = (rc == MESH_OK
                       || strcmp(token, call->token ? call->token : "") != 0);
    }

    mesh_kube_call_free(call);

    handler->done(data, &ended);
}
