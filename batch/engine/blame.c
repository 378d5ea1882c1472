/*
 * blame.c - a model's service refuses whatever is asked: who must mend what, and where it stands
 */
#include "batch/engine/live.h"

#include "formats/base/log.h"

#include "formats/base/banned.h"

/* "job.yaml:12", or nothing for what stands in an included file. */
static void write_place(const struct nj_engine *engine, const struct nj_mark *mark, char *text,
                        size_t size)
{
    text[0] = 0;
    if (mark->line == 0 || mark->file != 0)
        return;
    if (engine->options->job_path)
        (void)snprintf(text, size, " (%s:%u)", engine->options->job_path, mark->line);
    else
        (void)snprintf(text, size, " (%s/job.yaml:%u)", engine->dir.path, mark->line);
}

/* Where the secret comes from, as a person would look for it. */
static void write_source(const struct nj_manifest_credential *credential, char *text, size_t size)
{
    if (credential->env)
        (void)snprintf(text, size, "the variable %s", credential->env);
    else if (credential->file)
        (void)snprintf(text, size, "the file %s", credential->file);
    else if (credential->systemd)
        (void)snprintf(text, size, "systemd's credential %s", credential->systemd);
    else
        (void)snprintf(text, size, "the command %s",
                       credential->command.count > 0 ? credential->command.items[0].text : "?");
}

void nj_live_blame(const struct nj_live *live, const struct nj_model_failure *failure)
{
    const struct nj_engine *engine = live->engine;
    const struct nj_manifest_role *role = &engine->manifest->roles[live->plan->role];
    const struct nj_manifest_model *model = &role->chain[failure->place];
    char place[512], source[512];

    write_place(engine, &model->mark, place, sizeof(place));
    nj_log(NJ_LOG_ERROR, "session %s, %s, models.%s[%zu]%s: %s", live->plan->key, failure->model,
           role->name, failure->place, place, failure->text);
    if (model->credential != NJ_MANIFEST_NONE) {
        const struct nj_manifest_credential *credential =
            &engine->manifest->credentials[model->credential];

        write_place(engine, &credential->mark, place, sizeof(place));
        write_source(credential, source, sizeof(source));
        nj_log(NJ_LOG_ERROR, "it was asked with credentials.%s%s, which is read from %s",
               credential->name, place, source);
    }
    nj_log(NJ_LOG_ERROR, "nothing is lost; once that is mended: nightjar resume %s",
           engine->dir.path);
}
