# A target tune_<card> for every card with a `tune:` section: its trials, then the committed result.
for KEY in PLAN.studies:

    rule:
        name:
            f"tune_{KEY}"
        input:
            get_study_chunks(KEY),
        log:
            f"results/logs/tune_{KEY}.log",
        conda:
            "../../environment.yml"
        params:
            key=KEY,
            plan=PLAN.text,
        shell:
            "python -m joulemark tune {params.key:q} --plan {params.plan:q} 2>&1 | tee {log:q}"
