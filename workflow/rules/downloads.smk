# Public data into the data root.
#
# in:  the study's `cohort` section, where it says `fetch: true`, and the web
# out: {study}/fetched.tsv, and the data themselves in the folders of their sets with checksums.tsv beside them


rule fetch:
    """Fetch the public data of {wildcards.study}, or check those that are there."""
    output:
        fetched=f"{RESULTS}/{{study}}/fetched.tsv",
    log:
        f"{RESULTS}/logs/fetch/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch/{{study}}.tsv"
    # The nodes of a cluster often have no way to the web.
    localrule: True
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(1000, 120),
    params:
        # What is fetched, and not what is made of it. Whether the web may be used is no reason to fetch again.
        spec=fetched_part,
        root=DATA_ROOT,
        code=source_digest("heatproof.stages.fetch"),
    script:
        "../scripts/fetch.py"
