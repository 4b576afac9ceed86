/* login.c - GET and POST /v1/login, POST /v1/logout, and what the cookie opens. */
#include "base/log.h"
#include "daemon/api/origin.h"
#include "daemon/console/console.h"
#include "daemon/console/cookie.h"

#define LOGIN_BODY_MAX 4096
#define COOKIES_TRIED  32 /* of the name; more of them only cost time */

static const struct str schemes[] = { { "http://", 7 }, { "https://", 8 } };

/* --- the cookie of a request --- */

static bool is_safe(const struct h1_head *head)
{
    return !head->upgrade.n && (str_is(head->method, "GET") || str_is(head->method, "HEAD"));
}

/*
 * What changes something, and what opens a WebSocket, has to carry the Origin: browsers always send it there. For
 * the rest it may be absent, as in downloads.
 */
static bool is_own(const struct h1_head *head, bool https)
{
    if (origin_is_foreign(head))
        return false;
    if (is_safe(head) && !h1_header(head, "Origin").p)
        return true;
    return origin_is_own(head, schemes[https]);
}

/* Whether a cookie of this name counts: by https only the one that an https login gave, as both are sent there. */
static bool counts(const struct request *request, struct str name)
{
    if (str_is(name, CONSOLE_COOKIE_SECURE))
        return is_own(request->head, true);
    return str_is(name, CONSOLE_COOKIE) && !request->sender.https && is_own(request->head, false);
}

/* Calls `each` with every session that a cookie of the request names, until it says true. */
static bool any_session(const struct request *request, bool (*each)(const struct request *, struct web_session *))
{
    const struct h1_head *head = request->head;
    struct daemon *daemon = request->daemon;
    uint64_t now = loop_now_ms(daemon->loop);
    unsigned tried = 0;

    for (size_t i = 0; i < head->header_count; i++) {
        struct str field = head->headers[i].value;
        struct cookie cookie;

        if (!str_eq_nocase(head->headers[i].name, STR("Cookie")))
            continue;
        while (cookie_next(&field, &cookie)) {
            struct web_session *session;

            if (!counts(request, cookie.name))
                continue;
            if (tried++ == COOKIES_TRIED)
                return false;
            session = web_session_find(&daemon->web_sessions, cookie.value, now);
            if (session && each(request, session))
                return true;
        }
    }
    return false;
}

static bool key_lives(const struct request *request, struct web_session *session)
{
    return auth_knows(&request->daemon->auth, session->key_hash);
}

bool console_allows(const struct request *request)
{
    return any_session(request, key_lives);
}

static bool end_session(const struct request *request, struct web_session *session)
{
    (void)request;
    web_session_end(session);
    return false;
}

/* --- answers --- */

static void respond(struct request *request, int status, struct str body, const char *cookie)
{
    const struct http_field fields[] = { { "Content-Type", "application/json" },
                                         { "Cache-Control", "no-store" },
                                         { "Set-Cookie", cookie } };

    request_begin(request, status, fields, cookie ? 3 : 2, body.n);
    request_write(request, body);
    request_end(request);
}

/* `token` "" and `seconds` 0 take it away. NULL: answered. */
static const char *cookie_field(struct request *request, bool https, const char *token, unsigned seconds)
{
    const char *text =
        arena_printf(&request->arena, "%s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%u%s",
                     https ? CONSOLE_COOKIE_SECURE : CONSOLE_COOKIE, token, seconds, https ? "; Secure" : "");

    if (!text)
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
    return text;
}

/* Only pages of this origin log anybody in or out. -1: answered. */
static int take_scheme(struct request *request, bool *ret_https)
{
    for (size_t i = 0; i < ARRAY_SIZE(schemes) && !origin_is_foreign(request->head); i++)
        if (origin_is_own(request->head, schemes[i])) {
            *ret_https = i == 1;
            return 0;
        }
    request_fail_with(request, BERM_E_FORBIDDEN,
                      "the Origin is not this server's; a proxy before it has to pass the Host on as it is");
    return -1;
}

/* --- the routes --- */

void console_login_state(struct request *request)
{
    bool required = auth_has_keys(&request->daemon->auth);

    if (!required || console_allows(request))
        respond(request, 200,
                required ? STR("{\"required\":true,\"loggedIn\":true}")
                         : STR("{\"required\":false,\"loggedIn\":true}"),
                NULL);
    else
        respond(request, 200, STR("{\"required\":true,\"loggedIn\":false}"), NULL);
}

/* The hash of the key in the body; NULL: answered. */
static const uint8_t *take_key(struct request *request)
{
    const struct auth *auth = &request->daemon->auth;
    const struct json *body;
    struct str key = { "", 0 };
    const uint8_t *hash;
    struct berm_error err;

    if (request_parse_json(request, &body) < 0)
        return NULL;
    if (!body || body->type != JSON_OBJECT) {
        request_fail_with(request, BERM_E_INVALID_REQUEST, "the body must be a JSON object");
        return NULL;
    }
    if (json_field_string(body, "key", &key, &err) < 0) {
        request_fail(request, &err);
        return NULL;
    }
    if (!auth_has_keys(auth)) {
        request_fail_with(request, BERM_E_CONFLICT, "there is no API key: nobody has to log in");
        return NULL;
    }
    hash = auth_find_key(auth, str_trim(key));
    if (hash)
        return hash;
    log_warn("login.refused", "request", request->id, "client", request->sender.client);
    request_fail_with(request, BERM_E_UNAUTHORIZED, "this is not one of the API keys");
    return NULL;
}

/* Whoever logs in gets a session of his own making, and those he came with end. */
static void on_login_body(struct request *request)
{
    struct daemon *daemon = request->daemon;
    char token[WEB_SESSION_TOKEN_BYTES];
    const uint8_t *hash;
    const char *cookie;
    bool https;

    if (take_scheme(request, &https) < 0)
        return;
    hash = take_key(request);
    if (!hash)
        return;
    any_session(request, end_session);
    web_session_open(&daemon->web_sessions, hash, loop_now_ms(daemon->loop), token);
    cookie = cookie_field(request, https, token, WEB_SESSION_LIFE_MS / 1000);
    if (!cookie)
        return;
    log_info("login", "request", request->id, "client", request->sender.client);
    respond(request, 200, STR("{\"required\":true,\"loggedIn\":true}"), cookie);
}

void console_login(struct request *request)
{
    request_collect_body(request, LOGIN_BODY_MAX, on_login_body);
}

void console_logout(struct request *request)
{
    const char *cookie;
    bool https;

    if (take_scheme(request, &https) < 0)
        return;
    any_session(request, end_session);
    cookie = cookie_field(request, https, "", 0);
    if (cookie)
        respond(request, 200, STR("{\"loggedIn\":false}"), cookie);
}
