METHOD = "by accession"
