
/*
 * Copyright (C) ngx-mesh authors
 */


/*
 * What `meshd identity` answers.  Everything that it refuses has a row in
 * one table; each refusal and each certificate is one line of the log, with
 * the reason and without the token.
 */

#include <mesh_identity_serve.h>
#include <mesh_json.h>
#include <mesh_log.h>

#include <mesh_identity.h>


#define MESH_IDENTITY_BEARER  "Bearer "


typedef enum {
    MESH_IDENTITY_BAD_REQUEST,
    MESH_IDENTITY_BAD_CSR,
    MESH_IDENTITY_NO_TOKEN,
    MESH_IDENTITY_UNKNOWN_TOKEN,
    MESH_IDENTITY_NO_ACCOUNT,
    MESH_IDENTITY_WRONG_IDENTITY,
    MESH_IDENTITY_NOT_FOUND,
    MESH_IDENTITY_BAD_METHOD,
    MESH_IDENTITY_SLOW,
    MESH_IDENTITY_TOO_LARGE,
    MESH_IDENTITY_BAD_TYPE,
    MESH_IDENTITY_BAD_HEADERS,
    MESH_IDENTITY_NOT_READY,
    MESH_IDENTITY_FAILED
} mesh_identity_refusal_e;


typedef struct {
    mesh_identity_refusal_e   refusal;
    int                       status;
    const char               *code;       /* "error" of the answer */
    int                       level;
} mesh_identity_refusal_t;


typedef struct {
    mesh_httpd_request_t     *request;
    mesh_identity_serve_t    *serve;
    const mesh_token_who_t   *who;
    X509_REQ                 *csr;
    char                      allowed[MESH_X509_ID_MAX + 1];
    char                      asked[MESH_X509_ID_MAX + 1];
} mesh_identity_ask_t;


static void mesh_identity_certificate(mesh_httpd_request_t *r, void *data);
static void mesh_identity_trust(mesh_httpd_request_t *r, void *data);
static void mesh_identity_ready(mesh_httpd_request_t *r, void *data);
static void mesh_identity_live(mesh_httpd_request_t *r, void *data);
static int mesh_identity_authenticate(mesh_identity_ask_t *ask);
static int mesh_identity_type(mesh_identity_ask_t *ask);
static int mesh_identity_csr(mesh_identity_ask_t *ask);
static int mesh_identity_authorize(mesh_identity_ask_t *ask);
static int mesh_identity_issue(mesh_identity_ask_t *ask);
static char *mesh_identity_body_new(mesh_identity_serve_t *serve,
    const mesh_issued_t *issued);
static int mesh_identity_refuse(mesh_httpd_request_t *r,
    mesh_identity_refusal_e refusal, const char *message);


const mesh_httpd_route_t  mesh_identity_routes[] = {
    { "POST", "/v1/certificate", mesh_identity_certificate },
    { "GET", "/v1/trust", mesh_identity_trust },
    { "GET", "/ready", mesh_identity_ready },
    { "GET", "/live", mesh_identity_live },
    { NULL, NULL, NULL }
};


/* in the order of the enum; the first row of a status is the server's own */

static const mesh_identity_refusal_t  mesh_identity_refusals[] = {
    { MESH_IDENTITY_BAD_REQUEST, 400, "bad-request", MESH_LOG_WARN },
    { MESH_IDENTITY_BAD_CSR, 400, "bad-csr", MESH_LOG_WARN },
    { MESH_IDENTITY_NO_TOKEN, 401, "no-token", MESH_LOG_WARN },
    { MESH_IDENTITY_UNKNOWN_TOKEN, 401, "unknown-token", MESH_LOG_WARN },
    { MESH_IDENTITY_NO_ACCOUNT, 403, "no-service-account", MESH_LOG_WARN },
    { MESH_IDENTITY_WRONG_IDENTITY, 403, "wrong-identity", MESH_LOG_WARN },
    { MESH_IDENTITY_NOT_FOUND, 404, "not-found", MESH_LOG_INFO },
    { MESH_IDENTITY_BAD_METHOD, 405, "method-not-allowed", MESH_LOG_INFO },
    { MESH_IDENTITY_SLOW, 408, "too-slow", MESH_LOG_WARN },
    { MESH_IDENTITY_TOO_LARGE, 413, "too-large", MESH_LOG_WARN },
    { MESH_IDENTITY_BAD_TYPE, 415, "bad-content-type", MESH_LOG_WARN },
    { MESH_IDENTITY_BAD_HEADERS, 431, "headers-too-large", MESH_LOG_WARN },
    { MESH_IDENTITY_NOT_READY, 503, "not-ready", MESH_LOG_ERROR },
    { MESH_IDENTITY_FAILED, 500, "failed", MESH_LOG_ERROR }
};


static void
mesh_identity_certificate(mesh_httpd_request_t *r, void *data)
{
    mesh_identity_ask_t  ask;

    memset(&ask, 0, sizeof(ask));
    ask.request = r;
    ask.serve = data;

    /* who first: a stranger's request is not even parsed */

    if (mesh_identity_authenticate(&ask) == MESH_OK
        && mesh_identity_type(&ask) == MESH_OK
        && mesh_identity_csr(&ask) == MESH_OK
        && mesh_identity_authorize(&ask) == MESH_OK)
    {
        (void) mesh_identity_issue(&ask);
    }

    X509_REQ_free(ask.csr);
}


static int
mesh_identity_authenticate(mesh_identity_ask_t *ask)
{
    const char            *header;
    mesh_err_t             err;
    mesh_httpd_request_t  *r;

    r = ask->request;
    header = mesh_httpd_header(r, "authorization");

    if (header == NULL
        || strncasecmp(header, MESH_IDENTITY_BEARER,
                       sizeof(MESH_IDENTITY_BEARER) - 1)
           != 0)
    {
        mesh_httpd_answer_header(r, "WWW-Authenticate", "Bearer");
        return mesh_identity_refuse(r, MESH_IDENTITY_NO_TOKEN,
                             "no token, expected \"Authorization: Bearer\"");
    }

    if (mesh_token_find(ask->serve->tokens,
                        header + sizeof(MESH_IDENTITY_BEARER) - 1, &ask->who)
        != MESH_OK)
    {
        mesh_httpd_answer_header(r, "WWW-Authenticate", "Bearer");
        return mesh_identity_refuse(r, MESH_IDENTITY_UNKNOWN_TOKEN,
                                    "token is not known");
    }

    if (mesh_token_id(ask->who, ask->serve->trust_domain, ask->allowed,
                      sizeof(ask->allowed))
        != MESH_OK)
    {
        (void) mesh_err(&err, "token is of \"%s\", which is no service "
                        "account", ask->who->user);
        return mesh_identity_refuse(r, MESH_IDENTITY_NO_ACCOUNT, err.text);
    }

    return MESH_OK;
}


static int
mesh_identity_type(mesh_identity_ask_t *ask)
{
    size_t       len;
    const char  *type;

    type = mesh_httpd_header(ask->request, "content-type");
    len = (type != NULL) ? strcspn(type, "; \t") : 0;

    if (len == sizeof("application/json") - 1
        && strncasecmp(type, "application/json", len) == 0)
    {
        return MESH_OK;
    }

    return mesh_identity_refuse(ask->request, MESH_IDENTITY_BAD_TYPE,
                                "content type is not application/json");
}


static int
mesh_identity_csr(mesh_identity_ask_t *ask)
{
    int          rc;
    size_t       len;
    json_t      *json;
    mesh_err_t   err;
    const char  *body, *csr;
    mesh_json_t  root;

    body = mesh_httpd_body(ask->request, &len);
    json = mesh_json_parse(body, len, &err);

    if (json == NULL) {
        (void) mesh_err_prefix(&err, "body is no JSON");
        return mesh_identity_refuse(ask->request, MESH_IDENTITY_BAD_REQUEST,
                                    err.text);
    }

    mesh_json_root(&root, json);

    if (mesh_json_string(&root, "csr", &csr, &err) != MESH_OK) {
        (void) mesh_json_missing(&root, "csr", &err);
        json_decref(json);
        return mesh_identity_refuse(ask->request, MESH_IDENTITY_BAD_REQUEST,
                                    err.text);
    }

    ask->csr = mesh_x509_csr_parse(csr, strlen(csr), &err);

    rc = (ask->csr != NULL) ? mesh_x509_csr_check(ask->csr, ask->asked, &err)
                            : MESH_ERROR;
    json_decref(json);

    if (rc != MESH_OK) {
        return mesh_identity_refuse(ask->request, MESH_IDENTITY_BAD_CSR,
                                    err.text);
    }

    return MESH_OK;
}


static int
mesh_identity_authorize(mesh_identity_ask_t *ask)
{
    const char       *wrong;
    mesh_err_t        err;
    mesh_identity_t   id;

    if (strcmp(ask->asked, ask->allowed) != 0) {
        (void) mesh_err(&err, "request is for \"%.160s\", the token is of "
                        "\"%.160s\"", ask->asked, ask->allowed);
        return mesh_identity_refuse(ask->request,
                                    MESH_IDENTITY_WRONG_IDENTITY, err.text);
    }

    /* names in the token file may be such that no SPIFFE ID has them */

    wrong = mesh_identity_parse(ask->asked, strlen(ask->asked), &id);

    if (wrong != NULL) {
        (void) mesh_err(&err, "\"%.160s\" is no SPIFFE ID: %s", ask->asked,
                        wrong);
        return mesh_identity_refuse(ask->request,
                                    MESH_IDENTITY_WRONG_IDENTITY, err.text);
    }

    return MESH_OK;
}


static int
mesh_identity_issue(mesh_identity_ask_t *ask)
{
    char           *body;
    time_t          now;
    mesh_err_t      err;
    mesh_issued_t   issued;

    now = time(NULL);

    if (mesh_issuer_ready(ask->serve->issuer, now, &err) != MESH_OK) {
        return mesh_identity_refuse(ask->request, MESH_IDENTITY_NOT_READY,
                                    err.text);
    }

    if (mesh_issuer_sign(ask->serve->issuer, X509_REQ_get0_pubkey(ask->csr),
                         ask->asked, ask->who->uid, now, &issued, &err)
        != MESH_OK)
    {
        return mesh_identity_refuse(ask->request, MESH_IDENTITY_FAILED,
                                    err.text);
    }

    body = mesh_identity_body_new(ask->serve, &issued);

    free(issued.chain);

    if (body == NULL) {
        return mesh_identity_refuse(ask->request, MESH_IDENTITY_FAILED,
                                    "no memory for an answer");
    }

    mesh_log(MESH_LOG_NOTICE, 0, "issued \"%s\" to %s: serial %s, for %lld s"
             "%s%s", ask->asked, mesh_httpd_client(ask->request),
             issued.serial, (long long) (issued.not_after - now),
             ask->who->uid[0] ? ", uid " : "", ask->who->uid);

    mesh_httpd_answer(ask->request, 200, "application/json", body,
                      strlen(body));
    free(body);

    return MESH_OK;
}


static char *
mesh_identity_body_new(mesh_identity_serve_t *serve,
    const mesh_issued_t *issued)
{
    char    *body;
    json_t  *json;
    size_t   len;

    json = json_pack("{s:s, s:s, s:I}",
                     "chain", issued->chain,
                     "trust", mesh_issuer_trust(serve->issuer, &len),
                     "not_after", (json_int_t) issued->not_after);

    if (json == NULL) {
        return NULL;
    }

    body = json_dumps(json, JSON_COMPACT);

    json_decref(json);

    return body;
}


static void
mesh_identity_trust(mesh_httpd_request_t *r, void *data)
{
    size_t                  len;
    const char             *pem;
    mesh_identity_serve_t  *serve = data;

    pem = mesh_issuer_trust(serve->issuer, &len);

    mesh_httpd_answer(r, 200, "application/x-pem-file", pem, len);
}


static void
mesh_identity_ready(mesh_httpd_request_t *r, void *data)
{
    mesh_err_t              err;
    mesh_identity_serve_t  *serve = data;

    if (mesh_issuer_ready(serve->issuer, time(NULL), &err) != MESH_OK) {
        (void) mesh_identity_refuse(r, MESH_IDENTITY_NOT_READY, err.text);
        return;
    }

    mesh_httpd_answer(r, 200, "text/plain", "ready\n", 6);
}


static void
mesh_identity_live(mesh_httpd_request_t *r, void *data)
{
    mesh_httpd_answer(r, 200, "text/plain", "live\n", 5);
}


void
mesh_identity_refused(mesh_httpd_request_t *r, int status, const char *text,
    void *data)
{
    size_t  i;

    for (i = 0; i < mesh_nelts(mesh_identity_refusals); i++) {

        if (mesh_identity_refusals[i].status == status) {
            (void) mesh_identity_refuse(r, mesh_identity_refusals[i].refusal,
                                        text);
            return;
        }
    }

    (void) mesh_identity_refuse(r, MESH_IDENTITY_FAILED, text);
}


/* answers, logs, and returns MESH_ERROR; the request is gone */

static int
mesh_identity_refuse(mesh_httpd_request_t *r, mesh_identity_refusal_e refusal,
    const char *message)
{
    char                           *body;
    json_t                         *json;
    const mesh_identity_refusal_t  *row;

    row = &mesh_identity_refusals[refusal];

    mesh_log(row->level, 0, "refused %s: %d %s: %s", mesh_httpd_client(r),
             row->status, row->code, message);

    /* the message may hold a stranger's bytes: no UTF-8, no message */

    json = json_pack("{s:s, s:s}", "error", row->code, "message", message);

    if (json == NULL) {
        json = json_pack("{s:s, s:s}", "error", row->code, "message", "");
    }

    body = (json != NULL) ? json_dumps(json, JSON_COMPACT) : NULL;

    mesh_httpd_answer(r, row->status, "application/json",
                      body != NULL ? body : "{}",
                      body != NULL ? strlen(body) : 2);
    free(body);
    json_decref(json);

    return MESH_ERROR;
}
