/*
 * console.h - the web console: its files, built into the program, and the login that its pages use.
 *
 * A page logs in with an API key and gets a cookie that stands for the key on all of /v1, for requests of the
 * console's own origin only. Previews are pages of hostile code on the same site, so SameSite does not keep them
 * out: Origin and Sec-Fetch-Site do.
 */
#pragma once

#include "daemon/api/api.h"

/* GET /, GET /console/{file}. */
void console_page(struct request *request);
void console_file(struct request *request);

void console_login_state(struct request *request);
void console_login(struct request *request);
void console_logout(struct request *request);

/* Whether the request comes from the console's own pages with the cookie of a live session. */
bool console_allows(const struct request *request);
