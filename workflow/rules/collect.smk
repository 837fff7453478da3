# Bundles of a scope -> one tidy table.
rule collect:
    input:
        get_scope_bundles,
    output:
        "results/tables/{scope}-{digest}.parquet",
    log:
        "results/logs/collect/{scope}-{digest}.log",
    conda:
        "../../environment.yml"
    shell:
        "printf '%s\\n' {input:q} | python -m benchmarks collect --out {output:q} > {log:q} 2>&1"
