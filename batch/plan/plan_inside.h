/*
 * plan_inside.h - a plan while it is made; private to plan*.c
 */
#ifndef NJ_PLAN_INSIDE_H
#define NJ_PLAN_INSIDE_H

#include "batch/plan/plan.h"
#include "batch/plan/table.h"

struct nj_planning {
    const struct nj_manifest *manifest;
    const struct nj_models *models;
    struct nj_sources *sources;
    struct nj_manifest_faults *faults;
    struct nj_plan *plan;
    struct nj_table keys; /* key -> index of its session */
    struct nj_table slugs;
    size_t cap_sessions;
    const struct nj_config_mount *mounts[NJ_MANIFEST_AGENTS_MAX]; /* by agent, NULL until read */
    bool mounts_read[NJ_MANIFEST_AGENTS_MAX];
    const struct nj_config_rootfs *images[NJ_MANIFEST_AGENTS_MAX]; /* by agent, NULL until read */
    bool images_read[NJ_MANIFEST_AGENTS_MAX];
    bool scripts_read[NJ_MANIFEST_AGENTS_MAX]; /* by role */
};

/* nj_planning_fault - add the text of @err as a fault at @mark and return 0 when it is for a person
 * to mend (NJ_E_INPUT); return the failure otherwise */
int nj_planning_fault(struct nj_planning *planning, struct nj_mark mark, const struct nj_error *err,
                      const char *path_fmt, ...) NJ_PRINTF(4, 5);

/* nj_planning_item_fault - the same for a fault of one item in @part of its group; @err is told
 * where the item comes from */
int nj_planning_item_fault(struct nj_planning *planning, const struct nj_plan_session *session,
                           struct nj_mark mark, struct nj_error *err, const char *part);

/* nj_planning_config - the config that all sessions of a group share, key apart; @ret_config is
 * filled with texts that live as long as manifest and plan */
int nj_planning_config(struct nj_planning *planning, const struct nj_manifest_group *group,
                       struct nj_session_config *ret_config, struct nj_error *err) NJ_MUST_USE;

/* nj_planning_items - the sessions of a group with for_each or matrix; faults are added */
int nj_planning_items(struct nj_planning *planning, size_t at,
                      const struct nj_session_config *config, struct nj_error *err) NJ_MUST_USE;

/* nj_planning_session - one session of a group; @json is copied. Faults are added. */
int nj_planning_session(struct nj_planning *planning, size_t at,
                        const struct nj_session_config *shared, const char *json, uint32_t line,
                        struct nj_error *err) NJ_MUST_USE;

/* nj_planning_override - what the item says in place of its group goes into @session and @config */
int nj_planning_override(struct nj_planning *planning, struct nj_plan_session *session,
                         struct nj_session_config *config, struct nj_error *err) NJ_MUST_USE;

/* nj_planning_scripts - the scripts of a role become inputs */
int nj_planning_scripts(struct nj_planning *planning, size_t role,
                        struct nj_error *err) NJ_MUST_USE;

/* nj_planning_only - leave the sessions that `only` chooses, numbered anew; a pattern that chooses
 * nothing is a fault, and so is a session whose group waits for one of which nothing is left */
int nj_planning_only(struct nj_planning *planning, struct nj_error *err) NJ_MUST_USE;

/* nj_planning_identities - once all sessions are there: each one's identity and config digest */
int nj_planning_identities(struct nj_planning *planning, struct nj_error *err) NJ_MUST_USE;

#endif
