#include "daemon/console/assets.h"

#ifdef BERM_CONSOLE
#include "console_assets.h" /* made at build time: console_assets[] */
#else
static const struct console_asset console_assets[1];
#endif

const struct console_asset *console_asset_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(console_assets); i++)
        if (console_assets[i].name && str_is(name, console_assets[i].name))
            return &console_assets[i];
    return NULL;
}
