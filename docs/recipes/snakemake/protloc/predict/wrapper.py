"""Runs `protloc predict` on a cloud of its own, which ends with the job."""

__author__ = "the authors of protloc"
__copyright__ = "Copyright 2026, the authors of protloc"
__license__ = "Apache-2.0"

from snakemake.shell import shell

extra = snakemake.params.get("extra", "")
log = snakemake.log_fmt_shell(stdout=True, stderr=True)

shell(
    "OMP_NUM_THREADS={snakemake.threads} TMPDIR={snakemake.resources.tmpdir:q}"
    " protloc predict {snakemake.input:q} --once --no-table {extra} --output {snakemake.output:q} {log}"
)
