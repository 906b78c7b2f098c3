/* table_fields.c: what may stand below the keys of a table file: text, lists, integers, names of metrics. */
#include "study/table_read.h"

const char *const metric_names[METRICS] = {
#define METRIC(name, kind, value, help) #name,
#include "study/metrics.def"
#undef METRIC
};

bool metric_counted(enum metric m)
{
    return m == METRIC_params || m == METRIC_flops || m == METRIC_flops_complete;
}

int table_only_keys(const struct yaml *y, const char *what, const char *const *known, int n)
{
    if (y->kind != YAML_MAP)
        return yaml_fail(y, "%s is made of `key: value` pairs", what);
    for (int i = 0; i < y->n; i++) {
        const char *key = y->items[i].key;
        char hint[96];
        bool found = false;
        for (int j = 0; j < n; j++)
            found |= !strcmp(key, known[j]);
        if (found)
            continue;
        return place_fail(y->items[i].key_at, "unknown key '%s' in %s%s", key, what,
                          text_hint(hint, key, known, n));
    }
    return 0;
}

const char *table_text_at(const struct yaml *y, const char *key, const char *fallback)
{
    const struct yaml *v = yaml_get(y, key);
    if (v && v->kind == YAML_TEXT && v->text[0])
        return v->text;
    if (!v && fallback)
        return fallback;
    yaml_fail(v ? v : y, "%s must be text", key);
    return NULL;
}

int table_list_at(const struct yaml *y, const char *key, const struct yaml **items, int *n)
{
    const struct yaml *v = yaml_get(y, key);
    *items = v ? v->items : NULL;
    *n = v ? v->n : 0;
    return v && v->kind != YAML_LIST ? yaml_fail(v, "%s must be a list", key) : 0;
}

int table_flag_at(const struct yaml *y, const char *key, bool *out)
{
    static const char *const words[] = { "off", "on", "false", "true" };
    const char *text = table_text_at(y, key, "off");
    for (int i = 0; text && i < countof(words); i++)
        if (!strcmp(text, words[i])) {
            *out = i % 2;
            return 0;
        }
    return text ? yaml_fail(yaml_get(y, key), "%s must be on or off", key) : -1;
}

int table_integer_at(const struct yaml *y, const char *key, i64 most, i64 *out)
{
    const struct yaml *v = yaml_get(y, key);
    if (v && (v->kind != YAML_TEXT || !text_int(slice_of(v->text), out) || *out < 0 || *out > most))
        return yaml_fail(v, "%s must be an integer from 0 to %lld", key, (long long)most);
    return 0;
}

int table_metric_at(const struct yaml *y, const char *name, enum metric *out)
{
    for (int i = 0; i < METRICS; i++)
        if (!strcmp(metric_names[i], name)) {
            *out = (enum metric)i;
            return 0;
        }
    char all[512] = "", hint[96];
    for (int i = 0; i < METRICS; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", metric_names[i]);
    return yaml_fail(y, "no metric '%s'%s; there are: %s", name,
                     text_hint(hint, name, metric_names, METRICS), all);
}
