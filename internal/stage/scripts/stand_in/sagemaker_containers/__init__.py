"""What scripts import of sagemaker-containers, which the images of scikit-learn
and XGBoost hold: names of content types, their readers and writers, and the
response of an output_fn. A real one that is installed goes before it."""
