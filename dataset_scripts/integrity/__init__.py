"""All problems of a data set's folder in one run (`prompt-clip data check`).

    >>> from dataset_scripts.formats import detect_format
    >>> from dataset_scripts.integrity.checker import check_folder
    >>> report = check_folder("CUHK-PEDES", detect_format("CUHK-PEDES"))
    >>> report.usable, report.findings.counts

Rows and images are read by the builders' functions, so a usable folder loads.
"""
