"""What is wrong with the folder of a data set, all of it in one run.

    >>> from dataset_scripts.formats import detect_format
    >>> from dataset_scripts.integrity.checker import check_folder
    >>> report = check_folder("CUHK-PEDES", detect_format("CUHK-PEDES"))
    >>> report.usable, report.findings.counts

`prompt-clip data check` is its command line. The reading functions are those of the builders, so that what is usable
here loads there.
"""
