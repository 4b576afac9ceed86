#include "daemon/link/name.h"

bool link_name_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        bool letter = name.p[i] >= 'a' && name.p[i] <= 'z';

        if (!letter && (i == 0 || name.p[i] < '0' || name.p[i] > '9'))
            return false;
    }
    return name.n > 0 && name.n <= LINK_NAME_MAX;
}

int link_label_split(struct str label, struct str *ret_label, char name[LINK_NAME_MAX + 1])
{
    const char *hyphen = label.n ? memrchr(label.p, '-', label.n) : NULL;
    size_t before = hyphen ? (size_t)(hyphen - label.p) : 0;
    size_t after = hyphen ? label.n - before - 1 : 0;

    if (before == 0 || after == 0 || after > LINK_NAME_MAX)
        return -1;
    for (size_t i = 0; i < after; i++)
        name[i] = (char)(hyphen[1 + i] >= 'A' && hyphen[1 + i] <= 'Z' ? hyphen[1 + i] + 32 : hyphen[1 + i]);
    name[after] = '\0';
    *ret_label = (struct str){ label.p, before };
    return link_name_valid(str_from(name)) ? 0 : -1;
}
