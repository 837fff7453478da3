# A scope's page; `table` among the params because only params see a return to an older plan.
rule report:
    input:
        get_table,
    output:
        page=report(
            "results/report/%s/{scope}/index.html" % PLAN.name,
            caption="../report/page.rst",
            category="pages",
            labels={"scope": "{scope}"},
        ),
        # `update`: what did not change is taken over from the folder that was there
        figures=update(
            report(
                directory("results/report/%s/{scope}/figures" % PLAN.name),
                patterns=["{name}.svg"],
                caption="../report/figure.rst",
                category="figures",
                subcategory="{scope}",
                labels={"figure": "{name}"},
            )
        ),
    log:
        "results/logs/report/%s.{scope}.log" % PLAN.name,
    conda:
        "../../environment.yml"
    params:
        scope=get_scope_text,
        code=PLAN.report_code,
        table=get_table,
    shell:
        "printf %s {params.scope:q} | python -m reports page --scope-json-on-stdin --table {input:q} --out {output.page:q} > {log:q} 2>&1"


rule pdf:
    # only where latexmk is found: views() asks for it or not when the workflow is read
    input:
        "results/report/%s/{scope}/index.html" % PLAN.name,
    output:
        "results/report/%s/{scope}/report.pdf" % PLAN.name,
    log:
        "results/logs/pdf/%s.{scope}.log" % PLAN.name,
    conda:
        "../../environment.yml"
    shell:
        "python -m reports pdf --out {output:q} > {log:q} 2>&1"


rule so_far:
    log:
        "results/logs/so_far.log",
    conda:
        "../../environment.yml"
    # no input, no output: always runs, reads what exists
    params:
        plan=PLAN.text,
    shell:
        "python -m joulemark report --so-far --plan {params.plan:q} > {log:q} 2>&1"


rule strict:
    # fails on any cell that is missing or not final
    input:
        views("all"),
    log:
        "results/logs/strict.log",
    conda:
        "../../environment.yml"
    params:
        plan=PLAN.text,
    shell:
        "python -m joulemark strict --plan {params.plan:q} 2>&1 | tee {log:q}"
