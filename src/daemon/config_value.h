/* config_value.h - setting and printing one option of the table. For config.c only. */
#pragma once

#include "daemon/config_options.h"

/* Checks `text` against the row and stores it; a list is appended to. */
int option_set(struct config *config, const struct option_row *row, struct str text, struct berm_error *err);
bool option_is_set(const struct config *config, const struct option_row *row);
void option_print(const struct config *config, const struct option_row *row, FILE *out);
void config_list_clear(struct config_list *list);
