# One job is one round: it asks for all cores, so it runs alone; the machine's lease keeps other workflows away.
rule measure:
    input:
        ancient(get_round_chunks),
    output:
        "results/rounds/{round}.jsonl",
    log:
        "results/logs/measure/{round}.log",
    conda:
        "../../environment.yml"
    threads: workflow.cores
    params:
        spec=get_round_spec,
    shell:
        "printf %s {params.spec:q} | python -m benchmarks measure --out {output:q} > {log:q} 2>&1"
