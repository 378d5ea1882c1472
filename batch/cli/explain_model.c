/*
 * explain_model.c - roles, their models and credentials in words
 */
#include "batch/cli/explain_inside.h"

#include <inttypes.h>
#include <stdlib.h>

#include "formats/base/banned.h"

static void explain_price(struct nj_rows *rows, const struct nj_manifest_model *model)
{
    if (model->provider == NJ_PROVIDER_SCRIPT && !model->priced)
        return;
    if (!model->priced) {
        nj_rows_put(rows, "; no price: budgets cannot see what it costs");
        return;
    }
    nj_rows_put(rows, "; ");
    nj_rows_usd(rows, model->price.input);
    nj_rows_put(rows, " in and ");
    nj_rows_usd(rows, model->price.output);
    nj_rows_put(rows, " out per million tokens");
}

static void explain_when(struct nj_rows *rows, unsigned when)
{
    static const struct nj_explain_bit causes[] = {
#define X(name, bit, text) {bit, text},
        NJ_MANIFEST_CAUSES(X)
#undef X
    };

    if (when == 0)
        return;
    nj_rows_put(rows, " after ");
    nj_explain_bits(rows, when, causes, sizeof(causes) / sizeof(causes[0]));
}

static void explain_model(struct nj_rows *rows, const struct nj_manifest *manifest,
                          const struct nj_manifest_model *model, bool first)
{
    const struct nj_manifest_rate *rate = &model->rate;

    nj_rows_put(rows, "%s ", nj_manifest_provider_text(model->provider));
    nj_rows_shown(rows, model->script ? model->script : model->model ? model->model : "");
    if (model->base_url) {
        nj_rows_put(rows, " at ");
        nj_rows_shown(rows, model->base_url);
    }
    if (!first)
        explain_when(rows, model->when);
    if (model->credential != NJ_MANIFEST_NONE) {
        nj_rows_put(rows, "; credential ");
        nj_rows_shown(rows, manifest->credentials[model->credential].name);
    }
    explain_price(rows, model);
    nj_rows_put(rows, "; replies of %" PRIu64 " tokens", model->max_tokens);
    if (model->context_tokens > 0)
        nj_rows_put(rows, " in %" PRIu64, model->context_tokens);
    if (rate->requests > 0)
        nj_rows_put(rows, "; %" PRIu64 " requests a minute", rate->requests);
    if (rate->input_tokens > 0)
        nj_rows_put(rows, "; %" PRIu64 " tokens in a minute", rate->input_tokens);
    if (rate->output_tokens > 0)
        nj_rows_put(rows, "; %" PRIu64 " tokens out a minute", rate->output_tokens);
    if (rate->concurrent > 0)
        nj_rows_put(rows, "; %" PRIu64 " at once", rate->concurrent);
    nj_rows_row(rows, first ? "first" : "then");
}

void nj_explain_role(struct nj_rows *rows, const struct nj_manifest *manifest,
                     const struct nj_manifest_role *role)
{
    nj_rows_put(rows, "model ");
    nj_rows_shown(rows, role->name);
    nj_rows_line(rows);
    for (size_t i = 0; i < role->n_chain; i++)
        explain_model(rows, manifest, &role->chain[i], i == 0);
    if (role->n_chain < 2)
        return;
    if (role->return_seconds > 0)
        nj_rows_time(rows, role->return_seconds);
    nj_rows_put(rows, "%s",
                role->return_seconds > 0 ? " after a later one answered"
                                         : "to the first at the next turn");
    nj_rows_row(rows, "back");
}

/* Whether a variable is set is all that may be told of it. */
void nj_explain_credential(struct nj_rows *rows, const struct nj_manifest_credential *credential)
{
    nj_rows_put(rows, "credential ");
    nj_rows_shown(rows, credential->name);
    nj_rows_line(rows);
    if (credential->env) {
        nj_rows_put(rows, "the variable %s, which is %s here", credential->env,
                    getenv(credential->env) ? "set" : "NOT SET");
    } else if (credential->file) {
        nj_rows_put(rows, "the file ");
        nj_rows_shown(rows, credential->file);
    } else if (credential->systemd) {
        nj_rows_put(rows, "the unit's credential %s", credential->systemd);
    } else {
        nj_rows_put(rows, "what this prints: ");
        nj_explain_list(rows, &credential->command, " ");
    }
    nj_rows_row(rows, "from");
    nj_explain_list(rows, &credential->hosts, ", ");
    nj_rows_row(rows, "sent to");
}
