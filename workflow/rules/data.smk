# A task's splits, prepared once and named by what they depend on.
rule data:
    output:
        directory("results/data/{data}"),
    log:
        "results/logs/data/{data}.log",
    conda:
        "../../environment.yml"
    params:
        spec=get_data_spec,
    shell:
        "printf %s {params.spec:q} | python -m benchmarks data --out {output:q} > {log:q} 2>&1"
