# Joulemark: `snakemake --cores N [tour | paper_<key> | family_<name> | task_<name> | report | strict]`.
# The plan is config/<plan>.yaml (`--config plan=full`); everything is known before the run.


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/collect.smk"
include: "workflow/rules/report.smk"


wildcard_constraints:
    data="[a-z0-9_]+-[0-9a-f]{12}",
    chunk="[a-z0-9_.-]+",
    round="[a-z0-9_.-]+",
    scope="[a-z0-9_-]+",
    digest="[0-9a-f]{12}",


onstart:
    # not in dry runs, not in cluster jobs
    claim(".snakemake/joulemark.lock")
    hush()
    print(PLAN.announce(wanted_scope(), workflow.cores), file=sys.stderr)
    Progress(PLAN, wanted_scope(), workflow.cores).start()


onsuccess:
    print(closing(wanted_scope(), cores=workflow.cores), file=sys.stderr)


onerror:
    # also after Ctrl-C: a report of what exists, at once
    shell("python -m joulemark report --so-far --plan {PLAN.text:q}")


rule all:
    default_target: True
    input:
        views("all"),


for SCOPE in PLAN.scopes:
    if SCOPE != "all":

        rule:
            name:
                SCOPE
            input:
                views(SCOPE),
