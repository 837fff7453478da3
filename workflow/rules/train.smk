# One job trains a chunk of cells of one task and method. Records and artefacts are side files that resume;
# the declared output holds the records themselves. Inputs are ancient: their content is in this file's own name.
rule train:
    input:
        data=ancient(get_chunk_data),
        starts=ancient(get_starts),
    output:
        "results/chunks/{chunk}.jsonl",
    log:
        "results/logs/train/{chunk}.log",
    priority: 1
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=int(PLAN.settings["limits"]["memory_gb"] * 1024),
    params:
        spec=get_chunk_spec,
    shell:
        "printf %s {params.spec:q} | python -m benchmarks train --out {output:q} > {log:q} 2>&1"
