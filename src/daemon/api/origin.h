/* origin.h - what a browser tells about the page that made it ask. A page cannot change or leave out these fields.
 */
#pragma once

#include "net/h1.h"

/* Whether the Origin field is there and is that of this very request: `scheme` ("http://") and its Host. */
bool origin_is_own(const struct h1_head *head, struct str scheme);
/*
 * Whether Sec-Fetch-Site says that a page of another origin asks, be it of the same site. Absent: no. (Browsers
 * send it over https and to loopback only.)
 */
bool origin_is_foreign(const struct h1_head *head);
