/*
 * git_url.h - the pure parts of git/checkout: what a repository URL may be, what a clone is called, which error a
 * failed clone is, and how credentials are kept out of texts.
 */
#pragma once

#include "agent/http/request.h"
#include "base/buf.h"

#define GIT_URL_MAX 2048 /* UTF-16 units */

/* Why it cannot be used, or NULL. Any scheme and any path is fine: the sandbox is the boundary. */
const char *git_url_problem(struct str url);

/* "https://host/user/repo.git" and "git@host:user/repo.git" are both "repo". */
struct str git_url_name(struct str url);

/* What `git clone` under timeout(1) ended with. */
enum agent_code git_classify(int exit_code, struct str stderr_text);

/*
 * Appends `text` with the credentials in http and https URLs and the secrets in query parameters replaced. 0, or -1
 * as buf_append().
 */
int git_redact(struct buf *out, struct str text);
