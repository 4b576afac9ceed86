/* unit.h - cmocka with the headers it wants before it, and comparison of slices. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

#include <cmocka.h>

static inline void assert_str(struct str got, struct str want)
{
    if (!str_eq(got, want))
        fail_msg("got %zu bytes \"%.*s\", want %zu bytes \"%.*s\"", got.n, (int)MIN(got.n, (size_t)2000), got.p,
                 want.n, (int)MIN(want.n, (size_t)2000), want.p);
}
